"""Untrusted media to PCM, in a sandboxed child process."""
