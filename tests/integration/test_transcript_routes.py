"""Formats with options, names of speakers and lists of words, over HTTP and on both databases."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
from docx import Document
from sqlalchemy import make_url

from batchscribe.client import Client, ServerRefused
from batchscribe.database import jobs, transcripts, word_lists
from batchscribe.domain.job import JobStatus
from batchscribe.domain.transcript import Transcript, with_speakers
from batchscribe.domain.word_lists import WordListKind
from batchscribe.exports import FORMATS
from conftest import postgres_database
from running_api import TRANSCRIPT, RunningApi, running_api


@pytest.fixture(params=["sqlite", "postgres"], scope="module")
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """Run one server over each database for this module."""
    folder = tmp_path_factory.mktemp("api")
    if request.param == "sqlite":
        with running_api(folder) as running:
            yield running
        return
    server = make_url(request.getfixturevalue("postgres_server")).set(drivername="postgresql+psycopg")
    with postgres_database(server) as name:
        url = server.set(drivername="postgresql", database=name)
        with running_api(folder, database_url=url.render_as_string(hide_password=False)) as running:
            yield running


@pytest.fixture
def client(api: RunningApi) -> Iterator[Client]:
    """Return a client of the server."""
    with Client(api.base_url) as connected:
        yield connected


def conversation() -> Transcript:
    """Return a transcript in which two people speak."""
    [hello] = TRANSCRIPT.segments
    later = tuple(replace(item, start=item.start + 3, end=item.end + 3) for item in hello.items)
    segments = (
        replace(hello, speaker_label="spk_0"),
        replace(hello, start=3.0, end=4.5, items=later, speaker_label="spk_1"),
    )
    return with_speakers(replace(TRANSCRIPT, segments=segments, duration=5.0))


def completed(api: RunningApi, transcript: Transcript, **fields: Any) -> str:
    """Return the name of a job with this transcript."""
    name = api.submit(**fields)
    api.start(name)
    with api.database.begin() as connection:
        transcripts.save_transcript(connection, name, transcript)
        assert jobs.move_job(connection, name, JobStatus.COMPLETED, at=datetime.now(UTC))
    return name


def test_every_format_is_sent_with_its_type_and_name(api: RunningApi) -> None:
    """The body is the file that the name says."""
    name = completed(api, conversation())
    for export in FORMATS.values():
        answer = api.get(f"/transcribe-job/{name}/transcript?format={export.name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == export.content_type
        assert answer.headers["Content-Disposition"] == f'inline; filename="{name}.{export.extension}"'
        assert answer.content
    assert json.loads(api.get(f"/transcribe-job/{name}/transcript?format=aws").content)["jobName"] == name


def test_the_schema_of_the_native_format_is_served(api: RunningApi) -> None:
    """And the document fits it."""
    answer = api.get("/schemas/transcript.json")
    assert answer.headers["Content-Type"] == "application/schema+json"
    schema = answer.json()
    jsonschema.Draft202012Validator.check_schema(schema)
    name = completed(api, conversation())
    jsonschema.validate(api.get(f"/transcribe-job/{name}/transcript?format=json").json(), schema)


def test_subtitles_keep_to_the_callers_rules(api: RunningApi) -> None:
    """A line may be no wider, and a cue no longer, than the query says."""
    name = completed(api, TRANSCRIPT)
    path = f"/transcribe-job/{name}/transcript?format=srt"
    assert api.get(f"{path}&max_line_characters=10&max_lines=1").text.count("-->") == 2
    assert "00:00:00,100 --> 00:00:06,100" in api.get(f"{path}&min_cue_seconds=6").text
    for query in ("max_lines=3", "max_lines=1.5", "max_line_characters=x", "max_cue_seconds=nan", "csv_rows=cell"):
        answer = api.get(f"{path}&{query}")
        assert (answer.status_code, answer.headers["X-Error-Code"]) == (400, "invalid_request")
        assert query.partition("=")[0] in answer.json()["error"]


def test_a_name_given_later_stands_in_every_format(api: RunningApi, client: Client) -> None:
    """And is gone from all when it is taken away."""
    name = completed(api, conversation())
    assert client.speakers(name) == {"spk_0": "Speaker 1", "spk_1": "Speaker 2"}
    assert client.name_speakers(name, {"spk_0": "  Ann   Lee "}) == {"spk_0": "Ann Lee", "spk_1": "Speaker 2"}
    assert client.name_speakers(name, {"spk_1": "Bob"}) == {"spk_0": "Ann Lee", "spk_1": "Bob"}
    for export in FORMATS.values():
        document = client.export(name, export.name)
        if export.name == "docx":
            document = "\n".join(each.text for each in Document(io.BytesIO(document)).paragraphs).encode()
        assert b"Ann Lee" in document, export.name
    assert client.transcript(name) == "Ann Lee: Hello there.\n\nBob: Hello there.\n"
    assert client.name_speakers(name, {"spk_0": None}) == {"spk_0": "Speaker 1", "spk_1": "Bob"}


def test_names_given_at_the_same_time_are_all_kept(api: RunningApi, client: Client) -> None:
    """Each request changes its own labels alone."""
    name = completed(api, conversation())
    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda names: client.name_speakers(name, names), ({"spk_0": "Ann"}, {"spk_1": "Bob"})))
        assert client.speakers(name) == {"spk_0": "Ann", "spk_1": "Bob"}
        client.name_speakers(name, {"spk_0": None, "spk_1": None})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"spk_7": "Ann"}',
        b'{"spk_0": ""}',
        b'{"spk_0": 1}',
        b'{"spk_0": "\\u0000"}',
        b'{"spk_0": "\\ud800"}',
        b'{"\\ud800": "Ann"}',
        b'{"spk_0": "' + b"x" * 101 + b'"}',
        b'{"spk_0": "' + b"x" * 300_000 + b'"}',
    ],
)
def test_names_that_cannot_be_given_are_refused(api: RunningApi, body: bytes) -> None:
    """With a sentence, and nothing is changed."""
    name = completed(api, conversation())
    answer = requests.patch(f"{api.base_url}/transcribe-job/{name}/speakers", data=body, timeout=30)
    assert (answer.status_code, answer.headers["X-Error-Code"]) == (400, "invalid_request")
    assert api.get(f"/transcribe-job/{name}/speakers").json()["speakers"][0]["name"] is None


def test_speakers_of_no_transcript_are_refused(api: RunningApi) -> None:
    """404 for an unknown job, 409 for one that has none yet, as the transcript itself."""
    assert api.get("/transcribe-job/none/speakers").status_code == 404
    assert api.get(f"/transcribe-job/{api.submit()}/speakers").status_code == 409


@pytest.mark.parametrize("kind", ["vocabularies", "vocabulary-filters"])
def test_a_list_of_words_is_stored_read_replaced_and_deleted(api: RunningApi, client: Client, kind: str) -> None:
    """By its name, like any other resource."""
    field = "phrases" if kind == "vocabularies" else "words"
    stored_name = "vocabulary_name" if kind == "vocabularies" else "vocabulary_filter_name"
    stored = client.put_word_list(kind, "b.list", language_code="EN-us", words=["New  York", "Ånn", "New York"])
    assert (stored["language_code"], stored[field], stored["word_count"]) == ("en-US", ["New York", "Ånn"], 2)
    assert client.word_list(kind, "b.list") == stored
    client.put_word_list(kind, "a.list", language_code="de-DE", words=["Wort"])
    client.put_word_list(kind, "b.list", language_code="en-US", words=["other"])
    lists = client.word_lists(kind)[kind.replace("-", "_")]
    ours = [each for each in lists if each[stored_name] in {"a.list", "b.list"}]
    assert [(each[stored_name], each["word_count"]) for each in ours] == [("a.list", 1), ("b.list", 1)]
    later = api.get(f"/{kind}?after=a.list").json()
    assert "a.list" not in {each[stored_name] for each in later[kind.replace("-", "_")]}
    assert later["count"] == len(lists) - 1
    for name in ("a.list", "b.list"):
        client.delete_word_list(kind, name)
    with pytest.raises(ServerRefused) as refused:
        client.word_list(kind, "b.list")
    assert (refused.value.status, refused.value.server_code) == (404, "vocabulary_not_found")
    with pytest.raises(ServerRefused) as refused:
        client.delete_word_list(kind, "b.list")
    assert refused.value.status == 404


def test_a_new_list_is_answered_201_and_a_replaced_one_200(api: RunningApi) -> None:
    """So a script can tell."""
    body = {"language_code": "en-US", "words": ["one"]}
    answers = [requests.put(f"{api.base_url}/vocabulary-filters/twice", json=body, timeout=30) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("no%20spaces", {"language_code": "en-US", "words": ["one"]}),
        ("x" * 201, {"language_code": "en-US", "words": ["one"]}),
        ("a", {"language_code": "xx-XX", "words": ["one"]}),
        ("a", {"words": ["one"]}),
        ("a", {"language_code": "en-US", "words": []}),
        ("a", {"language_code": "en-US", "words": "one"}),
        ("a", {"language_code": "en-US", "words": [1]}),
        ("a", {"language_code": "en-US", "words": ["\ud800"]}),
        ("a", {"language_code": "en-US", "words": ["x" * 60_000]}),
    ],
)
def test_lists_that_cannot_be_kept_are_refused(api: RunningApi, name: str, body: dict[str, Any]) -> None:
    """With a sentence."""
    answer = requests.put(f"{api.base_url}/vocabulary-filters/{name}", json=body, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_job_keeps_the_words_of_the_lists_that_it_names(api: RunningApi, client: Client) -> None:
    """What is changed or deleted later is no longer its business; deleting the job deletes them."""
    client.put_word_list("vocabularies", "names", language_code="en-GB", words=["Ann"])
    client.put_word_list("vocabulary-filters", "rude", language_code="en-US", words=["darn"])
    fields = {"vocabulary_name": "names", "vocabulary_filter_name": "rude", "vocabulary_filter_method": "mask"}
    name = api.submit(**fields)
    client.delete_word_list("vocabularies", "names")
    client.put_word_list("vocabulary-filters", "rude", language_code="en-US", words=["other"])

    def kept(kind: WordListKind) -> tuple[str, ...]:
        with api.database.connect() as connection:
            return word_lists.words_of(connection, name, kind)

    assert kept(WordListKind.VOCABULARY) == ("Ann",)
    assert kept(WordListKind.VOCABULARY_FILTER) == ("darn",)
    client.delete(name)
    assert kept(WordListKind.VOCABULARY_FILTER) == ()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"vocabulary_name": "unknown"}, "There is no vocabulary named unknown"),
        ({"vocabulary_filter_name": "none", "vocabulary_filter_method": "tag"}, "no vocabulary filter named none"),
        ({"vocabulary_filter_name": "none"}, "need each other"),
        ({"vocabulary_name": "german"}, "is for de-DE, the recording for en-US"),
        ({"redact_types": "EMAIL,NAME"}, "cannot find NAME for redact_types"),
        ({"max_alternatives": "3"}, "cannot do max_alternatives"),
    ],
)
def test_a_submission_that_cannot_be_granted_is_refused(
    api: RunningApi, client: Client, fields: dict[str, str], sentence: str
) -> None:
    """At once, with nothing kept."""
    client.put_word_list("vocabularies", "german", language_code="de-DE", words=["Wort"])
    before = api.job_count()
    with pytest.raises(ServerRefused, match=sentence) as refused:
        client.submit(Path(__file__).parents[1] / "media" / "en-fox.flac", fields=fields)
    assert refused.value.status == 400
    assert api.job_count() == before
    assert api.unfinished_uploads() == []
