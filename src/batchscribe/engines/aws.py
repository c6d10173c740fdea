"""AWS Transcribe as a remote engine, with a bucket for recordings and transcripts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

from batchscribe.domain.remote_ports import RemoteJob, RemoteStart, RemoteStatus
from batchscribe.domain.transcript import Transcript
from batchscribe.engines.aws_client import answering, connect, error_of
from batchscribe.engines.aws_request import CAPABILITIES, Output, output_keys, start_request
from batchscribe.engines.aws_transcript import read_transcript
from batchscribe.errors import ConfigurationError, EngineFailed, EngineJobMissing, EngineRefused, EngineUnavailable

#: Our jobs' names begin so, which keeps the account's other jobs out of most lists.
NAME_BEGINS = "transcribe-"
#: A transcript file is never so large: four hours of speech make some 20 MB.
LARGEST_TRANSCRIPT_BYTES = 256 << 20
_PAGE = 100
_PART_BYTES = 16 << 20
_STATUSES = {
    "QUEUED": RemoteStatus.WAITING,
    "IN_PROGRESS": RemoteStatus.RUNNING,
    "COMPLETED": RemoteStatus.COMPLETED,
    "FAILED": RemoteStatus.FAILED,
}
#: AWS has no code for a job that is not there, only this sentence of a BadRequestException.
_NOT_FOUND = re.compile(r"couldn't be found|could not be found|not found", re.IGNORECASE)
_PATH_STYLE = re.compile(r"s3[.-][a-z0-9.-]*amazonaws\.com(\.cn)?|s3\.amazonaws\.com")
_HOST_STYLE = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9.-]+)\.s3[.-][a-z0-9.-]*amazonaws\.com(\.cn)?")


class AwsTranscribe:
    """A :class:`~batchscribe.domain.remote_ports.RemoteEngine`. Its clients may be used by many threads."""

    name = "aws"
    capabilities = CAPABILITIES

    def __init__(self, output: Output, *, media_prefix: str | None = None) -> None:
        """Write transcripts as ``output`` says. Raises ConfigurationError.

        ``media_prefix`` is the ``s3://bucket/prefix`` under which the media store keeps recordings; None where it is no
        bucket, so that they are copied to the output's.
        """
        self._output = output
        self._media_prefix = media_prefix or f"s3://{output.bucket}"
        self.copies_media = media_prefix is None
        self._transcribe = connect("transcribe", region=output.region)
        self._s3 = connect("s3", region=output.region, tries=4, read_seconds=60.0)

    def check(self) -> None:
        """Ask whether AWS lets us in. Raises ConfigurationError where it does not; one that is silent may come back."""
        try:
            with answering("the list of jobs"):
                self._transcribe.list_transcription_jobs(MaxResults=1)
            with answering(f"the bucket {self._output.bucket}"):
                self._s3.list_objects_v2(Bucket=self._output.bucket, Prefix="transcripts/", MaxKeys=1)
        except EngineRefused as error:
            raise ConfigurationError(f"The AWS engine cannot be used: {error} Check BATCHSCRIBE_AWS_BUCKET.") from error
        except EngineUnavailable as error:
            if error.is_access_denied:
                raise ConfigurationError(f"{error} Check AWS_ACCESS_KEY_ID, AWS_PROFILE or the role.") from error

    def media_uri(self, media_key: str) -> str:
        """Return the recording's address in S3."""
        return f"{self._media_prefix}/{media_key}"

    def copy_media(self, media_key: str, media: BinaryIO, content_type: str) -> None:
        """Copy a recording into the bucket, in parts where it is large, encrypted as configured."""
        from boto3.exceptions import Boto3Error
        from boto3.s3.transfer import TransferConfig

        how = {"ContentType": content_type}
        if self._output.kms_key_id:
            how |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._output.kms_key_id}
        parts = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4)
        try:
            with answering("the recording's copy"):
                self._s3.upload_fileobj(media, self._output.bucket, media_key, ExtraArgs=how, Config=parts)
        except Boto3Error as error:
            # The library wraps S3's answer, and keeps it as the context.
            with answering("the recording's copy"):
                raise error.__context__ or OSError(str(error)) from error

    def start(self, wanted: RemoteStart) -> bool:
        """Call StartTranscriptionJob; False where the name is taken. Raises EngineRefused, EngineUnavailable."""
        try:
            with answering("the start of a job"):
                self._transcribe.start_transcription_job(**start_request(wanted, self._output))
        except EngineRefused as error:
            if error_of(error.__cause__ or error)[0] == "ConflictException":
                return False
            raise
        return True

    def look(self, remote_name: str) -> RemoteJob:
        """Call GetTranscriptionJob. Raises EngineJobMissing, EngineUnavailable."""
        try:
            with answering("a look at a job"):
                answer = self._transcribe.get_transcription_job(TranscriptionJobName=remote_name)
        except EngineRefused as error:
            if _NOT_FOUND.search(str(error)):
                raise EngineJobMissing("The job was deleted in AWS Transcribe.") from error
            raise
        return remote_job(answer["TranscriptionJob"])

    def unfinished(self) -> Iterator[frozenset[str]]:
        """Call ListTranscriptionJobs page by page. A page may be short or empty and not be the last."""
        statuses = ["IN_PROGRESS", "QUEUED"] if self._output.data_access_role_arn else ["IN_PROGRESS"]
        for status in statuses:
            for page in self._pages({"Status": status, "JobNameContains": NAME_BEGINS}):
                yield frozenset(each["TranscriptionJobName"] for each in page)

    def ended(self, name_contains: str = "") -> Iterator[str]:
        """Yield the names of the account's jobs that have ended, newest first of each status."""
        narrowed = {"JobNameContains": name_contains} if name_contains else {}
        for status in ("COMPLETED", "FAILED"):
            for page in self._pages({"Status": status, **narrowed}):
                yield from (each["TranscriptionJobName"] for each in page)

    def fetch(self, job: RemoteJob) -> Transcript:
        """Read the transcript from the bucket or from AWS's own link. Raises EngineJobMissing, EngineFailed."""
        try:
            with answering("a transcript"):
                body = self._read(job.transcript_uri)
        except EngineRefused as error:
            raise EngineJobMissing(f"The transcript that AWS wrote is not there: {error}") from error
        if len(body) > LARGEST_TRANSCRIPT_BYTES:
            raise EngineFailed("The transcript that AWS wrote is too large.")
        try:
            data = json.loads(body)
        except ValueError as error:
            raise EngineFailed(f"The transcript that AWS wrote is no JSON: {error}") from error
        return read_transcript(data, language_code=job.language_code or "")

    def delete(self, remote_name: str) -> bool:
        """Call DeleteTranscriptionJob and remove what AWS wrote; False while AWS still works on the job."""
        try:
            with answering("a deletion"):
                self._transcribe.delete_transcription_job(TranscriptionJobName=remote_name)
        except EngineRefused as error:
            if not _NOT_FOUND.search(str(error)):
                return False
        with answering("a deletion"):
            for key in output_keys(remote_name):
                self._s3.delete_object(Bucket=self._output.bucket, Key=key)
        return True

    def delete_media(self, media_key: str) -> None:
        """Remove a recording's copy from the bucket."""
        if self.copies_media:
            with answering("a deletion"):
                self._s3.delete_object(Bucket=self._output.bucket, Key=media_key)

    def _pages(self, asked: dict[str, str]) -> Iterator[list[Mapping[str, Any]]]:
        token: dict[str, str] = {}
        while True:
            with answering("the list of jobs"):
                answer = self._transcribe.list_transcription_jobs(MaxResults=_PAGE, **asked, **token)
            yield answer.get("TranscriptionJobSummaries", [])
            if not answer.get("NextToken"):
                return
            token = {"NextToken": answer["NextToken"]}

    def _read(self, uri: str) -> bytes:
        place = bucket_and_key(uri)
        if place is None:
            parts = urlsplit(uri)
            if parts.scheme != "https" or not (parts.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn")):
                raise EngineFailed(f"AWS names a transcript that is not AWS's: {uri[:200]}")
            with urlopen(uri, timeout=60) as answer:  # noqa: S310 - https at AWS alone
                return bytes(answer.read(LARGEST_TRANSCRIPT_BYTES + 1))
        bucket, key = place
        body = self._s3.get_object(Bucket=bucket, Key=key)["Body"]
        return bytes(body.read(LARGEST_TRANSCRIPT_BYTES + 1))


def remote_job(data: Mapping[str, Any]) -> RemoteJob:
    """Return AWS's description of a job as ours."""
    transcript = data.get("Transcript") or {}
    languages = [each.get("LanguageCode") for each in data.get("LanguageCodes") or []]
    return RemoteJob(
        remote_name=data["TranscriptionJobName"],
        status=_STATUSES[data["TranscriptionJobStatus"]],
        media_uri=(data.get("Media") or {}).get("MediaFileUri", ""),
        failure_reason=data.get("FailureReason", ""),
        transcript_uri=transcript.get("RedactedTranscriptFileUri") or transcript.get("TranscriptFileUri", ""),
        media_format=data.get("MediaFormat"),
        media_sample_rate_hertz=data.get("MediaSampleRateHertz"),
        language_code=data.get("LanguageCode") or (languages[0] if languages else None),
        created_at=data.get("CreationTime"),
        started_at=data.get("StartTime"),
        completed_at=data.get("CompletionTime"),
    )


def bucket_and_key(uri: str) -> tuple[str, str] | None:
    """Return the place that an S3 address without a signature names, or None for any other address.

    AWS writes ``https://s3.<region>.amazonaws.com/<bucket>/<key>``; ``https://<bucket>.s3…`` and ``s3://`` are read
    too.
    """
    parts = urlsplit(uri)
    path = unquote(parts.path).lstrip("/")
    host = parts.hostname or ""
    if parts.query:
        return None
    if parts.scheme == "s3":
        return parts.netloc, path
    if parts.scheme == "https" and _PATH_STYLE.fullmatch(host):
        bucket, _, key = path.partition("/")
        return bucket, key
    if parts.scheme == "https" and (match := _HOST_STYLE.fullmatch(host)):
        return match["bucket"], path
    return None
