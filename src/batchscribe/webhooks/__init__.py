"""Webhooks on their way out: secrets, bodies, and the sender."""
