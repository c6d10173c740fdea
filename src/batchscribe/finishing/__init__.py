"""What is done to a transcript between the last recognised chunk and the database, in one order for every job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batchscribe.domain.options import TranscriptionOptions
from batchscribe.domain.transcript import Transcript
from batchscribe.finishing.chinese import alternatives_in_script_of, in_script_of
from batchscribe.finishing.redaction import redacted
from batchscribe.finishing.suspicion import with_suspicions
from batchscribe.finishing.word_filter import filtered


def finished_elsewhere(transcript: Transcript) -> Transcript:
    """Return a remote engine's transcript as it is stored: redacted and filtered by the engine, its script by us."""
    code = transcript.language_code
    return replace(
        transcript,
        segments=in_script_of(code, transcript.segments),
        alternatives=alternatives_in_script_of(code, transcript.alternatives),
    )


def takes_words_out(options: TranscriptionOptions) -> bool:
    """Whether words may be covered or removed: then nothing of a transcript may be shown before the whole is finished.

    A number that is to go may begin in one chunk and end in the next.
    """
    return bool(options.redact_types) or options.vocabulary_filter_name is not None


def is_told_at_the_end(options: TranscriptionOptions) -> bool:
    """Whether segments are known only when the whole is finished: words may go, or who speaks cuts them anew.

    Who has read some of other segments before would miss words of the whole, or read them twice.
    """
    return takes_words_out(options) or options.show_speaker_labels


def finished(transcript: Transcript, options: TranscriptionOptions, filter_words: Sequence[str] = ()) -> Transcript:
    """Return the transcript as it is stored and served.

    Chinese in the script of its code, with doubts where the engine's signs speak against a segment, without what is to
    be redacted, and with the words of the vocabulary filter treated. The same transcript finished twice is the same.
    """
    segments = with_suspicions(in_script_of(options.language_code, transcript.segments))
    if options.redact_types:
        segments = redacted(segments, options.redact_types, language_code=transcript.language_code)
    if options.vocabulary_filter_method is not None and filter_words:
        segments = filtered(segments, filter_words, options.vocabulary_filter_method)
    return replace(transcript, segments=segments, is_redacted=transcript.is_redacted or bool(options.redact_types))
