"""Renderings of a transcript."""
