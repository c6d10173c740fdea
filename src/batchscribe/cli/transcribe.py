"""``batchscribe transcribe``: recordings in, transcripts out, through a server or without one."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchscribe.cli.options import (
    EXIT_INTERRUPTED,
    FORMAT_EXTENSIONS,
    data_dir_option,
    format_option,
    model_option,
    no_server_sentence,
    quality_option,
    url_option,
    with_options,
)
from batchscribe.cli.outputs import plan_outputs, write_transcript
from batchscribe.errors import BatchScribeError

if TYPE_CHECKING:
    from batchscribe.cli.progress import Board
    from batchscribe.client import AsyncClient

#: How many recordings are at the server at a time, so that one call does not fill its queue for everybody else.
IN_FLIGHT = 4


@click.command(
    epilog="""\b
Examples:
  batchscribe transcribe talk.mp3                        print the transcript
  batchscribe transcribe talk.mp3 --language zh-CN
  batchscribe transcribe film.mp4 --format srt --output film.srt
  batchscribe transcribe *.wav                           write a .txt beside each
  batchscribe transcribe *.wav --format json --output transcripts/
  batchscribe transcribe talk.mp3 --local                without a server

Exit code: 0 all transcribed, 1 any failed (the reason is on stderr), 2 wrong usage.
"""
)
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@with_options(
    click.option("--language", default="en-US", show_default=True, metavar="CODE", help="The language spoken."),
    click.option("--channels", is_flag=True, help="Transcribe each of two channels apart."),
    click.option("--speakers", is_flag=True, help="Say who speaks, where the engine can."),
    click.option("--redact", metavar="TYPES", help="Take these out, such as EMAIL,PHONE; docs/http.md has all."),
    click.option("--vocabulary", metavar="NAME", help="Favour its words, where the engine can."),
    click.option("--filter", "filter_name", metavar="NAME", help="A vocabulary filter: treat its words."),
    click.option(
        "--filter-method",
        type=click.Choice(["mask", "remove", "tag"]),
        help="What the filter does with its words; by default mask.",
    ),
    format_option,
    click.option(
        "-o",
        "--output",
        metavar="FILE-or-FOLDER",
        help="Where to write; by default stdout for one recording, beside each for several.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace transcripts that exist."),
    url_option,
    click.option("--local", is_flag=True, help="Transcribe in this process, without a server."),
    model_option,
    quality_option,
    data_dir_option,
)
def transcribe(
    *,
    files: tuple[Path, ...],
    language: str,
    channels: bool,
    speakers: bool,
    redact: str | None,
    vocabulary: str | None,
    filter_name: str | None,
    filter_method: str | None,
    export_format: str,
    output: str | None,
    overwrite: bool,
    url: str | None,
    local: bool,
    model: str | None,
    quality: str | None,
    data_dir: Path | None,
) -> None:
    """Transcribe recordings.

    MP3, MP4, WAV, FLAC, OGG, AMR, WebM or M4A. They are sent to a running server, a few at a time. With --local this
    process does the work itself; --model, --quality and --data-dir are for that.
    """
    if not local and (model or quality or data_dir):
        raise click.UsageError("--model, --quality and --data-dir need --local: a server has its own settings.")
    if local and (vocabulary or filter_name):
        raise click.UsageError("--vocabulary and --filter name what a server keeps; they do not go with --local.")
    extension = FORMAT_EXTENSIONS.get(export_format, export_format)
    targets = plan_outputs(files, output, extension=extension, overwrite=overwrite)
    asked = {
        "channel_identification": "true" if channels else None,
        "show_speaker_labels": "true" if speakers else None,
        "redact_types": redact,
        "vocabulary_name": vocabulary,
        "vocabulary_filter_name": filter_name,
        "vocabulary_filter_method": filter_method or ("mask" if filter_name else None),
    }
    fields = {"language_code": language} | {name: value for name, value in asked.items() if value is not None}
    if local:
        overrides = {"model": model, "quality": quality, "data_dir": data_dir}
        failures = _transcribe_here(targets, fields, export_format, overrides)
    else:
        failures = _transcribe_there(targets, fields, export_format, url)
    if failures:
        sys.exit(1)


def _transcribe_there(
    targets: dict[Path, Path | None], fields: Mapping[str, str], export_format: str, url: str | None
) -> int:
    """Transcribe at the server and return how many recordings failed."""
    from batchscribe.client import AsyncClient, ServerUnreachable

    going_on: dict[Path, str] = {}

    async def transcribe_all() -> int:
        from batchscribe.cli.progress import Board

        turns = asyncio.Semaphore(IN_FLIGHT)

        async def transcribe_in_turn(path: Path, target: Path | None) -> bool:
            async with turns:
                return await _transcribe_one(
                    client, board, path, target, fields=fields, export_format=export_format, going_on=going_on
                )

        async with AsyncClient(url) as client:
            try:
                # Nothing may be uploaded in vain: the first question is a small one.
                await anext(client.list(page_jobs=1), None)
            except ServerUnreachable as error:
                sentence = f"{no_server_sentence(error)} With --local it goes without a server."
                raise ServerUnreachable(sentence) from error
            with Board() as board:
                successes = await asyncio.gather(*(transcribe_in_turn(*each) for each in targets.items()))
        return successes.count(False)

    try:
        return asyncio.run(transcribe_all())
    except KeyboardInterrupt:
        _say_what_goes_on(going_on)
        sys.exit(EXIT_INTERRUPTED)


async def _transcribe_one(
    client: AsyncClient,
    board: Board,
    path: Path,
    target: Path | None,
    *,
    fields: Mapping[str, str],
    export_format: str,
    going_on: dict[Path, str],
) -> bool:
    """Take one recording through the server, noting it in ``going_on`` meanwhile, and say how it went."""
    row = board.row(path.name)
    try:
        size_bytes = path.stat().st_size  # noqa: ASYNC240 - one look at the file system, and nothing else goes on
        job = await client.submit(
            path,
            language_code=None,
            fields=fields,
            on_progress=lambda sent_bytes: row.show_upload(sent_bytes, size_bytes),
            resume_key=_resume_key(path, fields),
        )
        going_on[path] = job.job_name
        row.show_job(job)
        job = await client.wait(job.job_name, on_progress=row.show_job)
        write_transcript(await client.export(job.job_name, export_format), target)
    except (BatchScribeError, OSError) as error:
        job_name = going_on.pop(path, None)
        row.end(f"failed{f' ({job_name})' if job_name else ''}. {error}")
        return False
    del going_on[path]
    row.warn(job.warnings)
    row.end(f"transcribed to {target}" if target else "transcribed", job.media_duration_seconds)
    return True


def _resume_key(path: Path, fields: Mapping[str, str]) -> str:
    """Return what the same command over the same file says again, so that it goes on after Ctrl-C where it was."""
    status = path.stat()
    asked = repr((str(path.resolve()), status.st_ino, status.st_size, status.st_mtime_ns, sorted(fields.items())))
    return hashlib.sha256(asked.encode()).hexdigest()


def _say_what_goes_on(going_on: dict[Path, str]) -> None:
    if not going_on:
        click.echo("\nStopped; nothing goes on in the server. The same command goes on with a long upload.", err=True)
        return
    click.echo("\nStopped watching; the server goes on with:", err=True)
    for path, job_name in going_on.items():
        click.echo(f"  {path}  {job_name}", err=True)
    names = " ".join(going_on.values())
    click.echo(f"Watch with:  batchscribe jobs watch {names}", err=True)
    click.echo(f"Cancel with: batchscribe jobs cancel {names}", err=True)


def _transcribe_here(
    targets: dict[Path, Path | None],
    fields: Mapping[str, str],
    export_format: str,
    overrides: Mapping[str, object],
) -> int:
    """Transcribe in this process, one recording after the other, and return how many failed."""
    failures = 0
    try:
        from batchscribe import app, settings
        from batchscribe.cli.progress import Board
        from batchscribe.domain.option_fields import check_whole, read_options
        from batchscribe.exports import FORMATS, RenderOptions

        # An unknown language is refused before the model is loaded, and any spelling of a known one is taken.
        options = read_options(fields)
        check_whole(options)
        with app.local_transcriber(settings.load(**overrides)) as transcribe_locally, Board() as board:
            for path, target in targets.items():
                row = board.row(path.name)
                row.show_audio(0.0, None)
                try:
                    transcript = transcribe_locally(path, options=options, on_progress=row.show_audio)
                    rendering = RenderOptions(job_name=path.stem)
                    write_transcript(b"".join(FORMATS[export_format].render(transcript, rendering)), target)
                except (BatchScribeError, OSError) as error:
                    row.end(f"failed. {error}")
                    failures += 1
                else:
                    row.end(f"transcribed to {target}" if target else "transcribed", transcript.duration)
    except KeyboardInterrupt:
        click.echo("\nStopped.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    return failures
