"""Queries for the languages that were identified. Every function runs in its caller's transaction."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, update

from batchscribe.database.schema import jobs
from batchscribe.domain.identification import languages_to_json
from batchscribe.domain.job import JobStatus
from batchscribe.domain.options import asked_options, options_from_json
from batchscribe.domain.transcript import SpokenLanguage


def decide_language(
    connection: Connection, job_name: str, otherwise: str, languages: tuple[SpokenLanguage, ...]
) -> None:
    """Store a running job's language, the first of these or, where there is none, ``otherwise``; the first word counts.

    So what a chunk has been recognised in is what every other chunk is recognised in.
    """
    _store(connection, job_name, languages[0].language_code if languages else otherwise, languages, is_first=True)


def note_languages(
    connection: Connection, job_name: str, language_code: str, languages: tuple[SpokenLanguage, ...]
) -> None:
    """Store what was identified in a running job by its end, where it was to be; otherwise the caller's own stays."""
    if language_code:
        _store(connection, job_name, language_code, languages, is_first=False)


def _store(
    connection: Connection,
    job_name: str,
    language_code: str,
    languages: tuple[SpokenLanguage, ...],
    *,
    is_first: bool,
) -> None:
    its = [jobs.c.name == job_name, jobs.c.status == JobStatus.IN_PROGRESS.value]
    if is_first:
        its.append(jobs.c.languages.is_(None))
    # A write that changes nothing comes first: it holds the row, so that of two at a time one is the first.
    held = update(jobs).where(*its).values(status=jobs.c.status).returning(jobs.c.options)
    stored = connection.execute(held).scalar_one_or_none()
    if stored is None:
        return
    options = options_from_json(stored)
    if options.identify_language or options.identify_multiple_languages:
        values = asked_options(replace(options, language_code=language_code))
        its_name = jobs.c.name == job_name
        connection.execute(update(jobs).where(its_name).values(options=values, languages=languages_to_json(languages)))
