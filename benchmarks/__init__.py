"""Measurements of the whole server beside a rival in the same run; see README.md."""
