"""What an operator has to set up in AWS, as documents that AWS's own tools take."""

from __future__ import annotations

from typing import Any

from batchscribe.engines.aws_request import OUTPUT_PREFIX

MEDIA_PREFIX = "audio/batch/"
#: After so many days AWS itself forgets a job.
_TRANSCRIPT_DAYS = 90
#: Copies are removed with their jobs; what is left is of a process that was killed.
_COPY_DAYS = 7


def policy(
    *, bucket: str, media_prefix: str = MEDIA_PREFIX, queue_arn: str = "", kms_key_arn: str = "", role_arn: str = ""
) -> dict[str, Any]:
    """Return the least that the server must be allowed.

    Actions and conditions: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazontranscribe.html
    """
    objects = [f"arn:aws:s3:::{bucket}/{media_prefix}*", f"arn:aws:s3:::{bucket}/{OUTPUT_PREFIX}*"]
    statements: list[dict[str, Any]] = [
        {
            "Sid": "StartJobsThatWriteToOurBucket",
            "Effect": "Allow",
            "Action": "transcribe:StartTranscriptionJob",
            "Resource": "*",
            "Condition": {"StringEquals": {"transcribe:OutputBucketName": bucket}},
        },
        {"Sid": "ListJobs", "Effect": "Allow", "Action": "transcribe:ListTranscriptionJobs", "Resource": "*"},
        {
            "Sid": "LookAtAndDeleteJobs",
            "Effect": "Allow",
            "Action": ["transcribe:GetTranscriptionJob", "transcribe:DeleteTranscriptionJob"],
            "Resource": "arn:aws:transcribe:*:*:transcription-job/transcribe-*",
        },
        {
            "Sid": "RecordingsAndTranscripts",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            "Resource": objects,
        },
        {
            "Sid": "MissingObjectsAreSeenToBeMissing",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{bucket}",
            "Condition": {"StringLike": {"s3:prefix": [f"{media_prefix}*", f"{OUTPUT_PREFIX}*"]}},
        },
    ]
    if queue_arn:
        actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
        statements.append({"Sid": "Events", "Effect": "Allow", "Action": actions, "Resource": queue_arn})
    if kms_key_arn:
        actions = ["kms:GenerateDataKey", "kms:Decrypt"]
        statements.append({"Sid": "Encryption", "Effect": "Allow", "Action": actions, "Resource": kms_key_arn})
    if role_arn:
        statements.append(
            {"Sid": "DeferredExecution", "Effect": "Allow", "Action": "iam:PassRole", "Resource": role_arn}
        )
    return {"Version": "2012-10-17", "Statement": statements}


def lifecycle(*, removes_media: bool) -> dict[str, Any]:
    """Return the bucket's lifecycle rules, as ``aws s3api put-bucket-lifecycle-configuration`` takes them.

    ``removes_media`` says that recordings in the bucket are copies; where it is the media store itself they stay.
    """
    rules = [
        {
            "ID": "unfinished uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
        {
            "ID": "transcripts",
            "Status": "Enabled",
            "Filter": {"Prefix": OUTPUT_PREFIX},
            "Expiration": {"Days": _TRANSCRIPT_DAYS},
        },
    ]
    if removes_media:
        rules.append(
            {
                "ID": "copies of recordings",
                "Status": "Enabled",
                "Filter": {"Prefix": MEDIA_PREFIX},
                "Expiration": {"Days": _COPY_DAYS},
            }
        )
    return {"Rules": rules}
