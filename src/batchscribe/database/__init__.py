"""The record of truth: schema and queries."""
