"""A fake AWS Transcribe that speaks AWS's JSON 1.1 protocol to AWS's own client library.

It refuses what AWS's service model refuses, and its answers are checked against that model before they are sent.
"""
