"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchscribe.errors import BatchScribeError

if TYPE_CHECKING:
    from batchscribe.client import Client

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

#: The exit code of a command stopped by Ctrl-C, as shells have it (128 + SIGINT).
EXIT_INTERRUPTED = 130

#: The formats in which a transcript can be had.
TRANSCRIPT_FORMATS = ("txt", "json", "srt", "vtt", "aws", "openai", "csv", "docx")
#: The extension of a file in a format, where it is not the format's name.
FORMAT_EXTENSIONS = {"aws": "json", "openai": "json"}

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the database, the recordings and the models are kept.  [BATCHSCRIBE_DATA_DIR]",
)
engine_option = click.option(
    "--engine", metavar="NAME", help="What recognises: local, aws, or scripted (a fake).  [BATCHSCRIBE_ENGINE]"
)
model_option = click.option(
    "--model", metavar="NAME", help="The Whisper model: base, small, ... or a folder.  [BATCHSCRIBE_MODEL]"
)
quality_option = click.option(
    "--quality",
    type=click.Choice(["accurate", "balanced", "fast"]),
    help="How much time to spend on the words.  [BATCHSCRIBE_QUALITY]",
)
url_option = click.option(
    "--url", metavar="URL", help="The server's address; by default http://127.0.0.1:5001.  [BATCHSCRIBE_URL]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
format_option = click.option(
    "--format",
    "export_format",
    type=click.Choice(TRANSCRIPT_FORMATS),
    default="txt",
    show_default=True,
    help="Running text, every word (json), subtitles (srt, vtt), AWS's or OpenAI's JSON, a table, or a Word document.",
)


def with_options(*options: Callable[[Any], Any]) -> Callable[[CommandT], CommandT]:
    """Put several options on a command, in the order in which its help shows them."""

    def decorate(command: CommandT) -> CommandT:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def no_server_sentence(error: BatchScribeError) -> str:
    """Say that no server answers, and what can be done about it."""
    return f"{str(error).rstrip('.')}; start one with `batchscribe serve`, or give another address with --url."


@contextmanager
def connected(url: str | None) -> Iterator[Client]:
    """Connect to the server; where none answers, say what can be done."""
    from batchscribe.client import Client, ServerUnreachable

    with Client(url) as client:
        try:
            yield client
        except ServerUnreachable as error:
            raise ServerUnreachable(no_server_sentence(error)) from error
