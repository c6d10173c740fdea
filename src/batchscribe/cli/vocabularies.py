"""``batchscribe vocabularies`` and ``batchscribe vocabulary-filters``: lists of words that a server keeps."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click

from batchscribe.cli.options import connected, url_option, with_options
from batchscribe.domain.word_lists import clean_words
from batchscribe.errors import InvalidRequest


def _group(kind: str, what: str, words_field: str, example: str) -> click.Group:
    """Make the commands of one kind of list; ``kind`` is its path, ``what`` is what people call one."""

    @click.group(
        kind,
        help=f"Keep lists of words at a server: {example}.",
        epilog=f"""\b
Examples:
  batchscribe {kind} put products words.txt --language en-US     a word or phrase a line
  batchscribe {kind} show products
  batchscribe {kind} list
""",
    )
    def commands() -> None:
        pass

    @commands.command("list", help=f"List every {what}: name, language, number of words.")
    @url_option
    def list_all(url: str | None) -> None:
        with connected(url) as client:
            answer = client.word_lists(kind)
        for each in answer[kind.replace("-", "_")]:
            click.echo("\t".join(map(str, (_name(each), each["language_code"], each["word_count"]))))

    @commands.command(help=f"Print the words of a {what}, one a line.")
    @click.argument("name")
    @url_option
    def show(name: str, url: str | None) -> None:
        with connected(url) as client:
            answer = client.word_list(kind, name)
        for word in answer[words_field]:
            click.echo(word)

    @commands.command(help=f"Store a {what}, in the place of one with its name; the file has a word or phrase a line.")
    @click.argument("name")
    @click.argument("file", type=click.File(encoding="utf-8"))
    @with_options(
        click.option("--language", default="en-US", show_default=True, metavar="CODE", help="Of the words."), url_option
    )
    def put(name: str, file: IO[str], language: str, url: str | None) -> None:
        words = words_of(file.read())
        with connected(url) as client:
            answer = client.put_word_list(kind, name, language_code=language, words=words)
        click.echo(f"{_name(answer)}: {answer['word_count']} words", err=True)

    @commands.command(help=f"Delete a {what}; jobs that name it keep its words.")
    @click.argument("name")
    @url_option
    def delete(name: str, url: str | None) -> None:
        with connected(url) as client:
            client.delete_word_list(kind, name)
        click.echo(f"{name}: deleted", err=True)

    return commands


def word_file(path: str | None, option: str) -> tuple[str, ...]:
    """Return the words of a file, one a line; none where no file is named. Raises UsageError naming the option."""
    if path is None:
        return ()
    try:
        return clean_words(words_of(Path(path).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(
            f"{option} names a file of words with --local; {path} cannot be read: {reason}."
        ) from error
    except InvalidRequest as error:
        raise click.UsageError(f"{option} {path}: {error}") from error


def words_of(text: str) -> list[str]:
    """Return the words or phrases of a text, one a line; empty lines are none."""
    return [word for line in text.splitlines() if (word := line.strip().removeprefix("\ufeff"))]


def _name(answer: dict[str, object]) -> object:
    return answer.get("vocabulary_name") or answer.get("vocabulary_filter_name")


vocabularies = _group("vocabularies", "vocabulary", "phrases", "words that the recogniser favours")
vocabulary_filters = _group(
    "vocabulary-filters", "vocabulary filter", "words", "words that are masked, removed or tagged"
)
