"""A queueing model of the service: measured, checked against a real server, then asked about sizes we do not have."""
