"""Vocabularies and vocabulary filters: named lists of words that people keep, and what a submission takes from them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Engine as Database

from batchscribe.database import word_lists
from batchscribe.database.connection import reading, writing
from batchscribe.domain.languages import canonical_code
from batchscribe.domain.options import TranscriptionOptions, spoken_codes
from batchscribe.domain.word_lists import WordList, WordListKind, check_list_name, clean_words
from batchscribe.errors import InvalidRequest, VocabularyNotFound

#: How many lists one answer holds.
LISTS_A_PAGE = 100


class Vocabularies:
    """Keeps lists of words, to each owner its own; the empty owner is who needs no key.

    Every method may be called from any thread and waits for the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self, kind: WordListKind, name: str, *, language_code: str, words: Iterable[str], owner: str = ""
    ) -> tuple[WordList, bool]:
        """Store a list in the place of one with its name; return it, and whether there was none.

        Raises InvalidRequest, UnsupportedLanguage. Jobs that were submitted before keep the words of then.
        """
        check_list_name(name, f"name of a {kind.value}")
        stored = WordList(
            kind=kind,
            name=name,
            language_code=canonical_code(language_code),
            words=clean_words(words),
            updated_at=datetime.now(UTC),
        )
        with writing(self._database) as connection:
            is_new = word_lists.save_list(connection, owner, stored)
        return stored, is_new

    def get(self, kind: WordListKind, name: str, *, owner: str = "") -> WordList:
        """Return a list. Raises VocabularyNotFound."""
        with reading(self._database) as connection:
            found = word_lists.find_list(connection, owner, kind, name)
        if found is None:
            raise VocabularyNotFound(f"There is no {kind.value} named {name[:200]}.")
        return found

    def list(self, kind: WordListKind, *, after: str = "", owner: str = "") -> tuple[WordList, ...]:
        """Return the first lists of a kind whose names come after this one, in the order of their names."""
        with reading(self._database) as connection:
            return tuple(word_lists.lists_of(connection, owner, kind, after=after, most=LISTS_A_PAGE))

    def delete(self, kind: WordListKind, name: str, *, owner: str = "") -> None:
        """Remove a list. Raises VocabularyNotFound. Jobs that name it keep its words."""
        with writing(self._database) as connection:
            is_deleted = word_lists.delete_list(connection, owner, kind, name)
        if not is_deleted:
            raise VocabularyNotFound(f"There is no {kind.value} named {name[:200]}.")

    def named_by(self, options: TranscriptionOptions, *, owner: str = "") -> tuple[WordList, ...]:
        """Return the owner's lists that options name. Raises InvalidRequest for an unknown one or another language."""
        asked = {
            WordListKind.VOCABULARY: options.vocabulary_name,
            WordListKind.VOCABULARY_FILTER: options.vocabulary_filter_name,
        }
        found: tuple[WordList, ...] = ()
        for kind, name in asked.items():
            if name is None:
                continue
            try:
                words = self.get(kind, name, owner=owner)
            except VocabularyNotFound as error:
                raise InvalidRequest(str(error)) from error
            spoken = spoken_codes(options)
            if spoken and words.language_code.partition("-")[0] not in {code.partition("-")[0] for code in spoken}:
                raise InvalidRequest(
                    f"The {kind.value} {name} is for {words.language_code}, the recording for {' or '.join(spoken)}."
                )
            found = (*found, words)
        return found
