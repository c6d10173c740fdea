"""What is asked of AWS Transcribe is what its own service model allows."""

from __future__ import annotations

from typing import Any

import pytest

from batchscribe.domain.languages import AWS_LANGUAGE_CODES
from batchscribe.domain.option_fields import (
    FILTER_METHODS,
    OPTION_FIELDS,
    REDACT_TYPES,
    check_options,
    check_whole,
    read_options,
)
from batchscribe.domain.options import Capabilities, TranscriptionOptions, asked_options, options_from_json
from batchscribe.domain.remote_ports import RemoteStart
from batchscribe.domain.submission import check_possible, choose_engine, read_submission
from batchscribe.engines.aws import bucket_and_key, remote_job
from batchscribe.engines.aws_request import CAPABILITIES, Output, start_request
from batchscribe.errors import InvalidRequest
from fake_transcribe.service_model import refusal, service

FORMS: list[dict[str, str]] = [
    {},
    {"language_code": "fr-fr"},
    {"identify_language": "true", "language_options": "en-US, es-US"},
    {"identify_multiple_languages": "1"},
    {"show_speaker_labels": "true"},
    {"show_speaker_labels": "yes", "max_speaker_labels": "4", "vocabulary_name": "ours"},
    {"channel_identification": "on", "vocabulary_filter_name": "rude", "vocabulary_filter_method": "mask"},
    {"redact_types": "all"},
    {"redact_types": "name,PHONE", "subtitle_formats": "vtt,srt"},
]


def request(form: dict[str, str], **output: str) -> dict[str, Any]:
    """Return what AWS is asked for a form."""
    wanted = RemoteStart(remote_name="transcribe-1", media_uri="s3://ours/a.mp3", options=read_options(form))
    return start_request(wanted, Output(bucket="ours", **output))


@pytest.mark.parametrize("form", FORMS)
def test_every_request_is_one_that_aws_allows(form: dict[str, str]) -> None:
    """By the model that AWS's client library ships."""
    assert refusal("StartTranscriptionJob", request(form)) is None
    role = "arn:aws:iam::123456789012:role/transcribe"
    assert refusal("StartTranscriptionJob", request(form, kms_key_id="alias/ours", data_access_role_arn=role)) is None


@pytest.mark.parametrize("form", FORMS)
def test_options_survive_being_stored(form: dict[str, str]) -> None:
    """And what later versions may add is left out."""
    options = read_options(form)
    assert options_from_json(asked_options(options) | {"of_tomorrow": 1}) == options
    assert asked_options(TranscriptionOptions()) == {"language_code": "en-US"}


def test_the_lists_of_values_are_aws_s_own() -> None:
    """Compared with the service model."""
    assert set(service().shape_for("PiiEntityType").enum) == set(REDACT_TYPES)
    assert set(service().shape_for("VocabularyFilterMethod").enum) == set(FILTER_METHODS)
    assert set(service().shape_for("LanguageCode").enum) == AWS_LANGUAGE_CODES


def test_speakers_are_always_counted() -> None:
    """AWS takes ShowSpeakerLabels only with a number."""
    assert request({"show_speaker_labels": "true"})["Settings"] == {"ShowSpeakerLabels": True, "MaxSpeakerLabels": 10}


def test_all_kinds_of_personal_data_are_named_by_naming_none() -> None:
    """As AWS reads it."""
    assert "PiiEntityTypes" not in request({"redact_types": "ALL"})["ContentRedaction"]
    assert request({"redact_types": "name"})["ContentRedaction"]["PiiEntityTypes"] == ["NAME"]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"language_code": "en-US", "identify_language": "true"}, "not both"),
        ({"identify_language": "true", "identify_multiple_languages": "true"}, "not both"),
        ({"language_options": "en-US,es-US"}, "needs identify_language"),
        ({"identify_language": "true", "language_options": "en-US"}, "at least two"),
        ({"max_speaker_labels": "3"}, "needs show_speaker_labels"),
        ({"show_speaker_labels": "true", "max_speaker_labels": "31"}, "from 2 to 30"),
        ({"show_speaker_labels": "perhaps"}, "true or false"),
        ({"show_speaker_labels": "true", "channel_identification": "true"}, "not both"),
        ({"vocabulary_filter_name": "rude"}, "need each other"),
        ({"vocabulary_filter_name": "rude", "vocabulary_filter_method": "shout"}, "one of: remove, mask, tag"),
        ({"vocabulary_name": "no name!"}, "letters, digits"),
        ({"redact_types": "secrets"}, "one or more of"),
        ({"redact_types": "ALL", "identify_multiple_languages": "true"}, "cannot be used"),
        ({"subtitle_formats": "doc"}, "one or more of: vtt, srt"),
        ({"redact_types": "NAME", "max_alternatives": "2"}, "Use either redact_types or max_alternatives"),
    ],
)
def test_what_aws_would_refuse_is_refused_at_once(form: dict[str, str], sentence: str) -> None:
    """With a sentence that names the field."""
    with pytest.raises(InvalidRequest, match=sentence):
        check_whole(read_options(form))


@pytest.mark.parametrize("name", OPTION_FIELDS[1:])
def test_an_option_that_the_engine_cannot_do_is_refused(name: str) -> None:
    """Each by its name; an engine that can do it takes it."""
    values: dict[str, Any] = {
        "max_speaker_labels": 3,
        "max_alternatives": 3,
        "language_options": ("en-US", "es-US"),
        "redact_types": REDACT_TYPES,
    }
    wanted = TranscriptionOptions(**{name: values.get(name, True)})
    with pytest.raises(InvalidRequest, match=f"The local engine cannot do {name}"):
        check_options(wanted, Capabilities(language_codes=AWS_LANGUAGE_CODES), "local")
    check_options(wanted, CAPABILITIES, "aws")


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("https://s3.us-west-2.amazonaws.com/ours/transcripts/a.json", ("ours", "transcripts/a.json")),
        ("https://s3.amazonaws.com/ours/a%20b.json", ("ours", "a b.json")),
        ("https://ours.s3.us-west-2.amazonaws.com/a.json", ("ours", "a.json")),
        ("https://s3.cn-north-1.amazonaws.com.cn/ours/a.json", ("ours", "a.json")),
        ("s3://ours/a.json", ("ours", "a.json")),
        ("https://s3.us-west-2.amazonaws.com/aws-transcribe/a.json?X-Amz-Signature=1", None),
        ("https://example.com/ours/a.json", None),
        ("https://s3.us-west-2.amazonaws.com.example.com/ours/a.json", None),
        ("http://s3.us-west-2.amazonaws.com/ours/a.json", None),
    ],
)
def test_addresses_of_transcripts_are_read(uri: str, place: tuple[str, str] | None) -> None:
    """In every style that AWS writes; any other is not asked with our credentials."""
    assert bucket_and_key(uri) == place


def test_a_running_job_of_aws_has_an_empty_transcript() -> None:
    """As AWS answers it; a redacted transcript goes before the other."""
    job = {"TranscriptionJobName": "a", "TranscriptionJobStatus": "IN_PROGRESS", "Transcript": {}}
    assert remote_job(job).transcript_uri == ""
    both = {"TranscriptFileUri": "s3://ours/a", "RedactedTranscriptFileUri": "s3://ours/b"}
    assert remote_job(job | {"Transcript": both}).transcript_uri == "s3://ours/b"


def test_the_engine_may_be_named_after_what_only_it_can_do() -> None:
    """The form's fields come in any order; once all are there, the engine must be one that can."""
    engines = {"local": Capabilities(language_codes=AWS_LANGUAGE_CODES), "aws": CAPABILITIES}
    form = {"show_speaker_labels": "true"}
    check_possible(read_submission(form), engines)
    with pytest.raises(InvalidRequest, match="The local engine cannot do show_speaker_labels"):
        choose_engine(read_submission(form), engines)
    assert choose_engine(read_submission({**form, "engine": "aws"}), engines) == "aws"
    with pytest.raises(InvalidRequest, match="The local engine cannot do max_alternatives"):
        check_possible(read_submission({"max_alternatives": "2"}), {"local": engines["local"]})
