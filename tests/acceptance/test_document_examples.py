"""The contract's own examples, taken out of our copy of the document and run against a real server as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Clip, Server

CONTRACT = Path(__file__).parents[2] / "docs" / "contract.md"

#: The address that the document's examples ask.
DOCUMENT_ADDRESS = "http://localhost:5001"

pytestmark = pytest.mark.xdist_group("server")


def example(heading: str, language: str) -> str:
    """Return the code block below a heading of the document."""
    pattern = rf"^### {re.escape(heading)}\n\n```{language}\n(.*?)^```$"
    found = re.search(pattern, CONTRACT.read_text(), re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


@pytest.fixture
def folder(tmp_path: Path, clips: list[Clip]) -> Path:
    """Return a folder with an ``audio.mp3`` in it, as the examples expect; the bytes are FLAC, which is taken too."""
    shutil.copy(clips[0].path, tmp_path / "audio.mp3")
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    """Run a program in a folder and return what it says."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def program(*names: str) -> str:
    """Return the path of the first of these programs; skip where one is missing."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    return names[0]


def words(text: str) -> list[str]:
    """Return the words of a text without capitals and punctuation."""
    return re.findall(r"\w+", text.lower())


def test_the_python_example_prints_the_transcript(server: Server, folder: Path, clips: list[Clip]) -> None:
    """Its address alone is ours."""
    code = example("Python", "python").replace(DOCUMENT_ADDRESS, server.base_url)
    said = run([sys.executable, "-c", code], folder)
    assert re.search(r"^Job started: transcribe-[0-9a-f-]{36}$", said, re.MULTILINE)
    assert words(said.partition("Transcript: ")[2]) == words(clips[0].text)


def test_the_shell_example_prints_the_transcript(server: Server, folder: Path, clips: list[Clip]) -> None:
    """With ``curl`` and ``jq``."""
    shell = program("bash", "curl", "jq")
    code = example("cURL", "bash").replace(DOCUMENT_ADDRESS, server.base_url)
    said = run([shell, "-c", code], folder)
    assert words(said.partition("Status: COMPLETED\n")[2]) == words(clips[0].text)


def test_the_javascript_example_returns_the_transcript(server: Server, folder: Path, clips: list[Clip]) -> None:
    """The function of the example is called with the recording, as a page would."""
    node = program("node")
    version = run([node, "--version"], folder)
    if int(version.strip("v").partition(".")[0]) < 20:
        pytest.skip("node is older than 20")
    code = example("JavaScript (Fetch API)", "javascript").replace(DOCUMENT_ADDRESS, server.base_url)
    call = """
    import { readFileSync } from 'node:fs';
    await transcribeAsync(new File([readFileSync('audio.mp3')], 'audio.mp3'));
    """
    said = run([node, "--input-type=module", "--eval", code + call], folder)
    assert words(said.rpartition("Transcript:")[2]) == words(clips[0].text)


def test_the_curl_commands_of_the_document_are_answered_as_it_says(server: Server, folder: Path) -> None:
    """Each of them, with its address and an invented job name."""
    shell = program("bash", "curl")
    blocks = re.findall(r"^```bash\n(.*?)^```$", CONTRACT.read_text(), re.DOTALL | re.MULTILINE)
    commands = [block for block in blocks if block.lstrip("# \n").startswith(("curl", "List all"))]
    assert len(commands) == 3
    submit, status, lists = (block.replace(DOCUMENT_ADDRESS, server.base_url) for block in commands)
    assert '"status_endpoint"' in run([shell, "-c", submit], folder)
    assert '"error":"Job not found: transcribe-a1b2c3d4-' in run([shell, "-c", status], folder)
    said = run([shell, "-c", lists], folder)
    assert [said.count(f'"status":"{each}","max_results"') for each in ("all", "IN_PROGRESS", "COMPLETED")] == [2, 1, 1]


def test_the_examples_ask_the_port_that_the_server_listens_on_by_default() -> None:
    """So that they run as they stand once the server does."""
    from batchscribe.settings import Settings

    assert f"http://localhost:{Settings.model_fields['port'].default}" == DOCUMENT_ADDRESS
