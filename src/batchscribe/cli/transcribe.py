"""``batchscribe transcribe``: recordings in, transcripts out, through a server or without one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from batchscribe.cli.options import (
    EXIT_INTERRUPTED,
    FORMAT_EXTENSIONS,
    data_dir_option,
    format_option,
    model_option,
    quality_option,
    url_option,
    with_options,
)
from batchscribe.cli.outputs import plan_outputs, write_transcript
from batchscribe.cli.recordings import Recording, RecordingType, by_path
from batchscribe.cli.transcribe_there import transcribe_there
from batchscribe.cli.vocabularies import word_file
from batchscribe.domain.identification import USUAL_FLOOR
from batchscribe.errors import BatchScribeError


@click.command(
    epilog="""\b
Examples:
  batchscribe transcribe talk.mp3                        print the transcript
  batchscribe transcribe talk.mp3 --language zh-CN
  batchscribe transcribe talk.mp3 --identify-language    find out which language it is
  batchscribe transcribe talk.mp3 --language-options en-US,es-US
  batchscribe transcribe film.mp4 --format srt --output film.srt
  batchscribe transcribe *.wav                           write a .txt beside each
  batchscribe transcribe *.wav --format json --output transcripts/
  batchscribe transcribe talk.mp3 --vocabulary names     favour the words of a vocabulary
  batchscribe transcribe talk.mp3 --local                without a server
  batchscribe transcribe https://example.com/talk.mp3    the server fetches it
  batchscribe transcribe talk.mp3 --local --vocabulary names.txt

Exit code: 0 all transcribed, 1 any failed (the reason is on stderr), 2 wrong usage.
"""
)
@click.argument("recordings", nargs=-1, required=True, metavar="FILE-or-ADDRESS...", type=RecordingType())
@with_options(
    click.option("--language", metavar="CODE", help="The language spoken; en-US where nothing is said of it."),
    click.option("--identify-language", is_flag=True, help="Find out the language."),
    click.option(
        "--identify-multiple-languages", is_flag=True, help="Find out the language of every stretch: it changes."
    ),
    click.option(
        "--language-options", metavar="CODES", help="Find it out among these alone, such as en-US,de-DE,fr-FR."
    ),
    click.option(
        "--min-language-score",
        metavar="SHARE",
        help=f"Fail where the language found is less probable, 0 to 1; {USUAL_FLOOR:g} if not given.",
    ),
    click.option("--channels", is_flag=True, help="Transcribe each of two channels apart."),
    click.option("--speakers", is_flag=True, help="Say who speaks, where the engine can."),
    click.option("--redact", metavar="TYPES", help="Take these out, such as EMAIL,PHONE; docs/http.md has all."),
    click.option(
        "--vocabulary",
        metavar="NAME",
        help="Favour the words of this vocabulary; with --local of this file, which has a word or phrase a line.",
    ),
    click.option(
        "--filter",
        "filter_name",
        metavar="NAME",
        help="Treat the words of this vocabulary filter; with --local of this file.",
    ),
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
    recordings: tuple[Recording, ...],
    language: str | None,
    identify_language: bool,
    identify_multiple_languages: bool,
    language_options: str | None,
    min_language_score: str | None,
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

    MP3, MP4, WAV, FLAC, OGG, AMR, WebM or M4A. They are sent to a running server, a few at a time; what is at an
    https:// or s3:// address, the server fetches itself. With --local this process does the work; --model, --quality
    and --data-dir are for that.
    """
    if not local and (model or quality or data_dir):
        raise click.UsageError("--model, --quality and --data-dir need --local: a server has its own settings.")
    extension = FORMAT_EXTENSIONS.get(export_format, export_format)
    known = by_path(recordings)
    if local and any(each.address for each in recordings):
        raise click.UsageError("--local takes files: only a server fetches recordings from addresses.")
    targets = plan_outputs(tuple(known), output, extension=extension, overwrite=overwrite)
    identifies = identify_language or (language_options is not None and not identify_multiple_languages)
    if language and (identifies or identify_multiple_languages):
        raise click.UsageError("Give either --language, or what it is to be found out with.")
    asked = {
        "language_code": language,
        "identify_language": "true" if identifies else None,
        "identify_multiple_languages": "true" if identify_multiple_languages else None,
        "language_options": language_options,
        "min_language_score": min_language_score,
        "channel_identification": "true" if channels else None,
        "show_speaker_labels": "true" if speakers else None,
        "redact_types": redact,
        "vocabulary_name": None if local else vocabulary,
        "vocabulary_filter_name": None if local else filter_name,
        "vocabulary_filter_method": filter_method or ("mask" if filter_name else None),
    }
    fields = {name: value for name, value in asked.items() if value is not None}
    if local:
        overrides = {"model": model, "quality": quality, "data_dir": data_dir}
        lists = {"phrases": word_file(vocabulary, "--vocabulary"), "words": word_file(filter_name, "--filter")}
        failures = _transcribe_here(targets, fields, export_format, overrides, lists)
    else:
        failures = transcribe_there(known, targets, fields, export_format, url)
    if failures:
        sys.exit(1)


def _transcribe_here(
    targets: dict[Path, Path | None],
    fields: Mapping[str, str],
    export_format: str,
    overrides: Mapping[str, object],
    lists: Mapping[str, tuple[str, ...]],
) -> int:
    """Transcribe in this process, one recording after the other, and return how many failed."""
    failures = 0
    try:
        from batchscribe import app, settings
        from batchscribe.cli.progress import Board
        from batchscribe.domain.option_fields import check_whole, read_options
        from batchscribe.exports import FORMATS, RenderOptions

        # An unknown language is refused before the model is loaded, and any spelling of a known one is taken.
        method = fields.get("vocabulary_filter_method")
        options = read_options({name: value for name, value in fields.items() if name != "vocabulary_filter_method"})
        check_whole(options)
        options = replace(options, phrases=lists["phrases"], vocabulary_filter_method=method)
        with app.local_transcriber(settings.load(**overrides)) as transcribe_locally, Board() as board:
            for path, target in targets.items():
                row = board.row(path.name)
                row.show_audio(0.0, None)
                try:
                    transcript = transcribe_locally(
                        path, options=options, filter_words=lists["words"], on_progress=row.show_audio
                    )
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
