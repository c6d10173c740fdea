"""The command of this package."""

from benchmarks.doors import main

if __name__ == "__main__":
    main()
