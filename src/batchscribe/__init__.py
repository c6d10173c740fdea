"""BatchScribe: an asynchronous batch transcription server."""

__version__ = "0.1.0"
