"""A job's options as AWS Transcribe's StartTranscriptionJob takes them.

https://docs.aws.amazon.com/transcribe/latest/APIReference/API_StartTranscriptionJob.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchscribe.domain.languages import AWS_LANGUAGE_CODES
from batchscribe.domain.option_fields import OPTION_FIELDS, REDACT_TYPES
from batchscribe.domain.options import Capabilities, TranscriptionOptions
from batchscribe.domain.remote_ports import RemoteStart

#: Where transcripts are written in the bucket. A key that ends in .json is the file's own name, any other a folder's.
OUTPUT_PREFIX = "transcripts/"

#: What AWS wants to know where speakers are told apart, and a caller need not say.
USUAL_MAX_SPEAKERS = 10

CAPABILITIES = Capabilities(
    language_codes=AWS_LANGUAGE_CODES,
    options=frozenset(OPTION_FIELDS) - {"language_code"},
    redact_types=frozenset(REDACT_TYPES),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where and how AWS writes a job's transcript."""

    bucket: str
    #: Empty means what AWS's own variables and files say.
    region: str = ""
    kms_key_id: str = ""
    #: The role with which AWS reads the recording later, where it may put jobs in a queue of its own.
    data_access_role_arn: str = ""


def output_key(remote_name: str) -> str:
    """Return the key of a job's transcript in the bucket."""
    return f"{OUTPUT_PREFIX}{remote_name}.json"


def output_keys(remote_name: str) -> list[str]:
    """Return every key that AWS may have written for a job."""
    return [
        f"{OUTPUT_PREFIX}{redacted}{remote_name}.{extension}"
        for redacted in ("", "redacted-")
        for extension in ("json", "vtt", "srt")
    ]


def start_request(wanted: RemoteStart, output: Output) -> dict[str, Any]:
    """Return the parameters of StartTranscriptionJob."""
    options = wanted.options
    request: dict[str, Any] = {
        "TranscriptionJobName": wanted.remote_name,
        "Media": {"MediaFileUri": wanted.media_uri},
        "OutputBucketName": output.bucket,
        "OutputKey": output_key(wanted.remote_name),
        **_language(options),
    }
    if output.kms_key_id:
        request["OutputEncryptionKMSKeyId"] = output.kms_key_id
    if settings := _settings(options):
        request["Settings"] = settings
    if options.redact_types:
        request["ContentRedaction"] = {"RedactionType": "PII", "RedactionOutput": "redacted"}
        # AWS takes all kinds where none is named.
        if "ALL" not in options.redact_types:
            request["ContentRedaction"]["PiiEntityTypes"] = list(options.redact_types)
    if options.subtitle_formats:
        request["Subtitles"] = {"Formats": list(options.subtitle_formats), "OutputStartIndex": 1}
    if output.data_access_role_arn:
        request["JobExecutionSettings"] = {
            "AllowDeferredExecution": True,
            "DataAccessRoleArn": output.data_access_role_arn,
        }
    return request


def _language(options: TranscriptionOptions) -> dict[str, Any]:
    if not options.identify_language and not options.identify_multiple_languages:
        return {"LanguageCode": options.language_code}
    way = "IdentifyLanguage" if options.identify_language else "IdentifyMultipleLanguages"
    return {way: True} | ({"LanguageOptions": list(options.language_options)} if options.language_options else {})


def _settings(options: TranscriptionOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if options.show_speaker_labels:
        settings |= {"ShowSpeakerLabels": True, "MaxSpeakerLabels": options.max_speaker_labels or USUAL_MAX_SPEAKERS}
    if options.channel_identification:
        settings["ChannelIdentification"] = True
    if options.max_alternatives:
        settings |= {"ShowAlternatives": True, "MaxAlternatives": options.max_alternatives}
    if options.vocabulary_name:
        settings["VocabularyName"] = options.vocabulary_name
    if options.vocabulary_filter_name:
        settings |= {
            "VocabularyFilterName": options.vocabulary_filter_name,
            "VocabularyFilterMethod": options.vocabulary_filter_method,
        }
    return settings
