"""Queries for transcripts and the names of their speakers. Every function runs in its caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, insert, select, update

from batchscribe.database.schema import transcripts
from batchscribe.domain.transcript import Transcript, with_names
from batchscribe.wire import transcript_from_json, transcript_to_json


def save_transcript(connection: Connection, job_name: str, transcript: Transcript) -> None:
    """Store the master transcript of a job that has none yet."""
    body = json.dumps(transcript_to_json(transcript), ensure_ascii=False, separators=(",", ":"))
    connection.execute(insert(transcripts).values(job_name=job_name, text=transcript.text, body=body))


def find_transcript(connection: Connection, job_name: str) -> Transcript | None:
    """Return the master transcript, with the names that its speakers were given, or None."""
    row = connection.execute(
        select(transcripts.c.body, transcripts.c.speaker_names).where(transcripts.c.job_name == job_name)
    ).one_or_none()
    if row is None:
        return None
    return with_names(transcript_from_json(json.loads(row.body)), row.speaker_names or {})


def name_speakers(connection: Connection, job_name: str, names: Mapping[str, str | None]) -> None:
    """Give speakers names by their labels, and take them from those with None; the others keep theirs."""
    its = transcripts.c.job_name == job_name
    # A write that changes nothing comes first: it holds the row, so that two at a time lose no name.
    held = update(transcripts).where(its).values(speaker_names=transcripts.c.speaker_names)
    known = connection.execute(held.returning(transcripts.c.speaker_names)).scalar_one_or_none()
    merged = {label: name for label, name in {**(known or {}), **names}.items() if name is not None}
    connection.execute(update(transcripts).where(its).values(speaker_names=merged or None))
