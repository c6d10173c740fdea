"""Migrations of our tables, in the order of their numbers."""
