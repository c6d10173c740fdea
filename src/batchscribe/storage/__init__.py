"""Where media and working audio are kept."""
