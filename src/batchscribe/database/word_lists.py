"""Queries for vocabularies and vocabulary filters. Every function runs in its caller's transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from batchscribe.database.schema import job_words, word_lists
from batchscribe.domain.word_lists import WordList, WordListKind


def save_list(connection: Connection, owner: str, words: WordList) -> bool:
    """Store an owner's list in the place of one with its name; return whether there was none."""
    values = {"language_code": words.language_code, "words": list(words.words), "updated_at": words.updated_at}
    replaced = connection.execute(update(word_lists).where(_is(owner, words.kind, words.name)).values(values))
    if replaced.rowcount:
        return False
    connection.execute(insert(word_lists).values(owner=owner, kind=words.kind.name, name=words.name, **values))
    return True


def find_list(connection: Connection, owner: str, kind: WordListKind, name: str) -> WordList | None:
    """Return the owner's list, or None."""
    row = connection.execute(select(word_lists).where(_is(owner, kind, name))).one_or_none()
    return None if row is None else _word_list(row)


def lists_of(connection: Connection, owner: str, kind: WordListKind, *, after: str, most: int) -> list[WordList]:
    """Return an owner's lists of a kind whose names come after this one, in the order of their names."""
    its = (word_lists.c.owner == owner) & (word_lists.c.kind == kind.name)
    query = select(word_lists).where(its, word_lists.c.name > after)
    return [_word_list(row) for row in connection.execute(query.order_by(word_lists.c.name).limit(most))]


def delete_list(connection: Connection, owner: str, kind: WordListKind, name: str) -> bool:
    """Remove an owner's list; return whether it was there. Jobs that named it keep its words."""
    return bool(connection.execute(delete(word_lists).where(_is(owner, kind, name))).rowcount)


def keep_words(connection: Connection, job_name: str, words: WordList) -> None:
    """Keep a list's words with a job, as they are now."""
    connection.execute(insert(job_words).values(job_name=job_name, kind=words.kind.name, words=list(words.words)))


def words_of(connection: Connection, job_name: str, kind: WordListKind) -> tuple[str, ...]:
    """Return the words that were kept with a job; none where it named no list."""
    kept = connection.execute(
        select(job_words.c.words).where(job_words.c.job_name == job_name, job_words.c.kind == kind.name)
    ).scalar_one_or_none()
    return tuple(kept or ())


def _is(owner: str, kind: WordListKind, name: str) -> Any:  # noqa: ANN401 - a condition, whatever SQLAlchemy calls it
    return (word_lists.c.owner == owner) & (word_lists.c.kind == kind.name) & (word_lists.c.name == name)


def _word_list(row: Row[*tuple[Any, ...]]) -> WordList:
    return WordList(
        kind=WordListKind[row.kind],
        name=row.name,
        language_code=row.language_code,
        words=tuple(row.words),
        updated_at=row.updated_at,
    )
