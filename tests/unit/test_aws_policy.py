"""What an operator sets up in AWS: the printed documents and the template say the same."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from batchscribe.cli.aws import aws
from batchscribe.engines.aws_policy import lifecycle, policy

TEMPLATE = Path(__file__).parents[2] / "deploy" / "aws" / "batchscribe.yaml"


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short functions as what stands behind them."""


Loader.add_multi_constructor("!", lambda loader, _suffix, node: _value(loader, node))


def _value(loader: Any, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


def template() -> dict[str, Any]:
    """Return the template."""
    loaded: dict[str, Any] = yaml.load(TEMPLATE.read_text(), Loader)  # noqa: S506 - a safe loader
    return loaded


def actions(document: dict[str, Any]) -> dict[str, list[str]]:
    """Return each statement's actions."""
    return {
        each["Sid"]: [each["Action"]] if isinstance(each["Action"], str) else each["Action"]
        for each in document["Statement"]
    }


def test_the_template_allows_what_the_printed_policy_does() -> None:
    """No more and no less."""
    document = template()["Resources"]["ServerPolicy"]["Properties"]["PolicyDocument"]
    assert actions(document) == actions(policy(bucket="ours", queue_arn="arn:aws:sqs:us-east-1:123456789012:ours"))


def test_the_policy_has_no_star_where_aws_has_resources() -> None:
    """Only the two calls that AWS restricts by no resource; the start is bound to the bucket."""
    statements = policy(bucket="ours", kms_key_arn="arn:aws:kms:…:key/1", role_arn="arn:aws:iam::…:role/a")["Statement"]
    open_ones = [each["Sid"] for each in statements if each["Resource"] == "*"]
    assert open_ones == ["StartJobsThatWriteToOurBucket", "ListJobs"]
    assert statements[0]["Condition"] == {"StringEquals": {"transcribe:OutputBucketName": "ours"}}
    assert not any("*" in action for each in actions({"Statement": statements}).values() for action in each)


def test_the_template_removes_what_the_printed_rules_do() -> None:
    """After as many days."""
    rules = template()["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    printed = {each["ID"]: each.get("Expiration", {}).get("Days") for each in lifecycle(removes_media=True)["Rules"]}
    assert {each["Id"]: each.get("ExpirationInDays") for each in rules} == printed
    assert "copies of recordings" not in str(lifecycle(removes_media=False))


def test_the_policy_covers_the_media_store_where_that_is_the_bucket() -> None:
    """With its prefix."""
    environment = {"BATCHSCRIBE_STORAGE_URL": "s3://ours/store"}
    document = json.loads(CliRunner().invoke(aws, ["policy"], env=environment).stdout)
    objects = next(each for each in document["Statement"] if each["Sid"] == "RecordingsAndTranscripts")
    assert objects["Resource"] == ["arn:aws:s3:::ours/store/*", "arn:aws:s3:::ours/transcripts/*"]


def test_the_commands_print_json() -> None:
    """For AWS's own tools."""
    for command in (["policy", "--bucket", "ours"], ["lifecycle"]):
        done = CliRunner().invoke(aws, command)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)


def test_the_template_is_one_that_cloudformation_takes() -> None:
    """By the linter that AWS itself keeps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cfnlint.api import lint
        from cfnlint.config import ManualArgs

        found = lint(TEMPLATE.read_text(), config=ManualArgs(regions=["us-east-1"]))
    assert not [str(each) for each in found]
