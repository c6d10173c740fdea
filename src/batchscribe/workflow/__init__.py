"""A job's way; the only code that imports the durable engine."""
