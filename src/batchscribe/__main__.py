"""``python -m batchscribe`` is the ``batchscribe`` command."""

from batchscribe.cli import main

main()
