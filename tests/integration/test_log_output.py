"""The log of real processes: JSON, without secrets, and never in the way of the server."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from batchscribe import logs, settings
from batchscribe.app import upgrade_database
from batchscribe.logs import JsonFormatter, LineFormatter, Outlet
from conftest import free_port
from running_api import WAV

SECRET = "hunter2-canary-4711"


@pytest.fixture
def outlet() -> Iterator[Callable[[logging.Formatter], tuple[logging.Logger, io.StringIO, Outlet]]]:
    """Return a function that makes a logger of the test's own, and says where its lines go."""
    made: list[tuple[logging.Logger, Outlet]] = []

    def make(formatter: logging.Formatter) -> tuple[logging.Logger, io.StringIO, Outlet]:
        stream = io.StringIO()
        logger, handler = logging.getLogger(f"batchscribe.test.{len(made)}"), Outlet(stream, formatter)
        logger.propagate = False
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        made.append((logger, handler))
        return logger, stream, handler

    yield make
    for logger, handler in made:
        logger.removeHandler(handler)
        handler.close()


def run(program: str, **options: Any) -> subprocess.Popen[bytes]:
    """Run a program that has the log at hand."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    begin = "import logging, os, sys, threading, time\nfrom batchscribe.logs import configure_logs\n"
    return subprocess.Popen([sys.executable, "-c", begin + program], env=environment, **options)


def objects(lines: bytes | str) -> list[dict[str, Any]]:
    """Read a log of JSON; every line of it must be an object."""
    return [json.loads(line) for line in lines.splitlines()]


class TestJson:
    """``BATCHSCRIBE_LOG_FORMAT=json``."""

    def test_a_record_is_an_object(self, outlet: Any) -> None:
        """With its time, level, part, sentence and every fact; numbers are numbers."""
        logger, stream, handler = outlet(JsonFormatter())
        logger.info(
            "job %s", "failed", extra={"job_name": "transcribe-1", "attempt": 2, "seconds": 0.5, "at": Path("x")}
        )
        handler.close()
        (line,) = objects(stream.getvalue())
        assert list(line)[:4] == ["time", "level", "logger", "message"]
        moment = datetime.fromisoformat(line.pop("time"))
        assert moment.utcoffset() is not None
        assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
        facts = {"job_name": "transcribe-1", "attempt": 2, "seconds": 0.5, "at": "x"}
        assert line == {"level": "INFO", "logger": logger.name, "message": "job failed"} | facts

    def test_a_trace_is_a_field(self, outlet: Any) -> None:
        """However many lines it has."""
        logger, stream, handler = outlet(JsonFormatter())
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            logger.exception("it broke")
        handler.close()
        (line,) = objects(stream.getvalue())
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith("ZeroDivisionError: division by zero")

    @pytest.mark.parametrize(
        "outside",
        ["a\nb", "\u2028", "\x1b[2K", '"}{"', "half a pair", "\0", "ü" * 10],
        ids=["newline", "line separator", "terminal", "braces", "half a pair", "nothing", "beyond ASCII"],
    )
    def test_nothing_from_outside_begins_a_line(self, outside: str) -> None:
        """And it can be read back as it was."""
        # A lone surrogate cannot be sent between the processes that run the tests, nor be logged where they listen.
        outside = outside.replace("half a pair", chr(0xD800))
        facts = {"msg": "name %s", "args": (outside,), "levelname": "INFO", "file_name": outside}
        written = JsonFormatter().format(logging.makeLogRecord(facts))
        assert written.isascii()
        assert "\n" not in written
        assert json.loads(written)["file_name"] == outside

    def test_a_fact_hides_nothing_of_the_record(self, outlet: Any) -> None:
        """Not even one that is called as a part of it; and what JSON has no number for is text."""
        logger, stream, handler = outlet(JsonFormatter())
        logger.info("said", extra={"level": "none", "time": "never", "share": float("nan"), "most": float("inf")})
        handler.close()
        (line,) = objects(stream.getvalue())
        assert (line["level"], line["message"], line["share"], line["most"]) == ("INFO", "said", "nan", "inf")


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()], ids=["text", "json"])
class TestWhatIsWritten:
    """In both forms."""

    def test_a_line_is_never_long(self, outlet: Any, formatter: logging.Formatter) -> None:
        """Whatever it speaks of."""
        logger, stream, handler = outlet(formatter)
        try:
            raise ValueError("y" * 10_000_000)  # noqa: TRY301 - a trace is wanted
        except ValueError:
            logger.exception("x" * 10_000_000, extra={"file_name": "z" * 10_000_000})
        handler.close()
        assert 1_000 < len(stream.getvalue()) < 30_000

    @pytest.mark.parametrize(
        "text",
        [
            f"postgresql+psycopg://user:{SECRET}@host:5432/name?sslmode=require",
            f"https://bucket.host/key?X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}&X-Amz-Expires=60",
            f"s3://key:{SECRET}@host/bucket and https://a:{SECRET}@b",
            f"connection to server failed: host=here password={SECRET} dbname=x",
            f"https://host/key?AWSAccessKeyId={SECRET}&Signature={SECRET}",
        ],
    )
    def test_passwords_and_signatures_are_left_out(self, outlet: Any, formatter: logging.Formatter, text: str) -> None:
        """In the sentence, in a fact and in a trace."""
        logger, stream, handler = outlet(formatter)
        try:
            raise ValueError(text)  # noqa: TRY301 - a trace is wanted
        except ValueError:
            logger.exception("it broke: %s", text, extra={"address": text})
        handler.close()
        assert SECRET not in stream.getvalue()
        assert stream.getvalue().count("***") >= 3
        assert "host" in stream.getvalue()

    def test_an_address_without_a_secret_stays_as_it_is(self, outlet: Any, formatter: logging.Formatter) -> None:
        """As does what only looks like one."""
        logger, stream, handler = outlet(formatter)
        logger.info("listening on http://127.0.0.1:5001 for a@b at 10:30 s3://bucket/audio/x@y.mp3")
        handler.close()
        assert "http://127.0.0.1:5001 for a@b at 10:30 s3://bucket/audio/x@y.mp3" in stream.getvalue()


class TestStalledReader:
    """Standard error is a pipe, and whoever should read it does not."""

    def test_nobody_waits_for_the_log(self) -> None:
        """Far more than a pipe holds is logged, in no time; the process ends in peace and in time."""
        program = """
configure_logs("INFO", "json")
log, worst, began = logging.getLogger("batchscribe.x"), 0.0, time.monotonic()
for number in range(5000):
    at = time.monotonic()
    log.info("line %s %s", number, "x" * 200)
    worst = max(worst, time.monotonic() - at)
print(worst, time.monotonic() - began, flush=True)
"""
        process = run(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        began_at = time.monotonic()
        worst, _ = map(float, process.stdout.readline().split())
        assert worst < 10.0
        assert process.wait(30) == 0
        assert time.monotonic() - began_at < 20
        written = process.stderr.read()
        assert 1_000 < len(written) <= 65536 + 4096
        process.stdout.close()
        process.stderr.close()

    def test_what_was_dropped_is_counted(self) -> None:
        """Once there is a reader again the log says how much it does not hold."""
        reading, writing = os.pipe()
        stream = os.fdopen(writing, "w")
        handler = Outlet(stream, JsonFormatter())
        logger = logging.getLogger("batchscribe.test.stalled")
        logger.propagate = False
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        try:
            for number in range(5000):
                logger.info("%s", number, extra={"fact": "x" * 100})
            written, total = b"", 5000
            # Only once such a line is read, all before it are: the writer may have found room in their midst too.
            while b'"more"' not in written:
                written += os.read(reading, 1 << 20)
                logger.info("more")
                total += 1
            logger.removeHandler(handler)
            handler.close()
            os.set_blocking(reading, False)
            try:
                while piece := os.read(reading, 1 << 20):
                    written += piece
            except BlockingIOError:
                pass
        finally:
            logger.removeHandler(handler)
            stream.close()
            os.close(reading)
        lines = objects(written)
        numbers = [int(line["message"]) for line in lines if line["message"].isdigit()]
        assert numbers == sorted(set(numbers))
        reports = [line for line in lines if "dropped" in line]
        assert {report["level"] for report in reports} == {"WARNING"}
        assert len(lines) - len(reports) == total - sum(report["dropped"] for report in reports)
        assert logs.MOST_WAITING_LINES <= len(numbers) < 5000

    def test_an_api_whose_log_nobody_reads_goes_on(self, tmp_path: Path) -> None:
        """It answers at once while thousands of errors are logged, and ends when it is told to."""
        port = free_port()
        environment = os.environ | settings.to_environment(
            settings.load(data_dir=tmp_path, engine="scripted", port=port, min_free_bytes=0, log_level="DEBUG")
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "batchscribe", "api"], env=environment, stderr=subprocess.PIPE
        )
        try:
            assert process.stderr is not None
            url = f"http://127.0.0.1:{port}"
            wait_for(url, process)
            # The pipe is full from here on.
            fill = os.open(f"/proc/{process.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
            with suppress(BlockingIOError):
                while os.write(fill, b"x" * 512):
                    pass
            os.close(fill)
            (tmp_path / "media").rename(tmp_path / "elsewhere")
            (tmp_path / "media").write_text("in the way")
            slowest = 0.0
            for _ in range(50):
                began_at = time.monotonic()
                requests.post(f"{url}/transcribe-batch-async", files={"file": ("a.wav", WAV)}, timeout=30)
                assert requests.get(f"{url}/health", timeout=30).status_code == 200
                slowest = max(slowest, time.monotonic() - began_at)
            assert slowest < 15.0
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


class TestEnd:
    """The last lines are the ones that are wanted most."""

    @pytest.mark.parametrize(
        "end", ["pass", "sys.exit(3)", "raise ValueError('the end')", "logging.shutdown(); os._exit(0)"]
    )
    def test_every_line_is_written_before_the_process_ends(self, end: str) -> None:
        """However it ends by itself."""
        say_all = "for n in range(1000): logging.getLogger('batchscribe').info('%s', n)"
        program = f"configure_logs('INFO', 'json')\n{say_all}\n{end}"
        process = run(program, stderr=subprocess.PIPE)
        _, written = process.communicate(timeout=30)
        lines = objects(written)
        assert [line["message"] for line in lines[:1000]] == [str(number) for number in range(1000)]
        assert [line["exception"].splitlines()[-1] for line in lines[1000:]] == (
            ["ValueError: the end"] if "raise" in end else []
        )

    def test_a_thread_that_breaks_is_logged(self) -> None:
        """With its trace, in the log's own form."""
        program = """
configure_logs('INFO', 'json')
thread = threading.Thread(target=lambda: 1 / 0, name='keeper')
thread.start()
thread.join()
"""
        _, written = run(program, stderr=subprocess.PIPE).communicate(timeout=30)
        (line,) = objects(written)
        assert line["level"] == "ERROR"
        assert "keeper" in line["thread_of"]
        assert line["exception"].endswith("ZeroDivisionError: division by zero")


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until an api answers."""
    until = time.monotonic() + 120
    while True:
        assert process.poll() is None, "the api ended"
        assert time.monotonic() < until, "the api does not answer"
        try:
            requests.get(f"{url}/health", timeout=30)
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            return


def wait_for_line(output: Path, words: str, processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait until one of the processes has logged these words."""
    until = time.monotonic() + 120
    while words not in output.read_text():
        assert all(process.poll() is None for process in processes), output.read_text()
        assert time.monotonic() < until, f"nobody logs: {words}"
        time.sleep(0.05)


class TestSecrets:
    """A password that is planted in the database's address is found nowhere."""

    @pytest.fixture
    def guarded_url(self, postgres_url: str) -> Iterator[str]:
        """Return the address of a database whose user has a password of note."""
        url = make_url(postgres_url)
        admin = create_engine(
            url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT", poolclass=NullPool
        )
        user = f"user_{url.database}"
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{SECRET}'")
        yield url.set(username=user, password=SECRET).render_as_string(hide_password=False)
        with admin.connect() as connection:
            ends = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = :user")
            connection.execute(ends, {"user": user})
            connection.exec_driver_sql(f"REASSIGN OWNED BY {user} TO CURRENT_USER")
            connection.exec_driver_sql(f"DROP OWNED BY {user}")
            connection.exec_driver_sql(f"DROP ROLE {user}")

    @staticmethod
    def environment(url: str, folder: Path, log_format: str, port: int) -> dict[str, str]:
        """Return the environment of a process that says all it can."""
        chosen = settings.load(
            database_url=url,
            data_dir=folder,
            engine="scripted",
            port=port,
            min_free_bytes=0,
            log_level="DEBUG",
            log_format=log_format,
        )
        return os.environ | settings.to_environment(chosen)

    @pytest.mark.parametrize("log_format", ["text", "json"])
    def test_no_process_writes_the_password(
        self, guarded_url: str, postgres_server: str, tmp_path: Path, log_format: str
    ) -> None:
        """Not while it works, not when the database is taken away, not when it ends; nor does any answer hold it."""
        port = free_port()
        environment = self.environment(guarded_url, tmp_path, log_format, port)
        upgrade_database(settings.load(database_url=guarded_url, data_dir=tmp_path))
        answers: list[str] = []
        with (tmp_path / "output").open("wb") as output:
            processes = [
                subprocess.Popen(
                    [sys.executable, "-m", "batchscribe", half], env=environment, stdout=output, stderr=output
                )
                for half in ("api", "worker")
            ]
            try:
                url = f"http://127.0.0.1:{port}"
                wait_for(url, processes[0])
                files = {"file": ("a.wav", WAV)}
                answers.append(requests.post(f"{url}/transcribe-batch-async", files=files, timeout=30).text)
                wait_for_line(tmp_path / "output", "worker ready", processes)
                database = make_url(guarded_url).database
                admin = create_engine(
                    make_url(postgres_server).set(drivername="postgresql+psycopg"),
                    isolation_level="AUTOCOMMIT",
                    poolclass=NullPool,
                )
                with admin.connect() as connection:
                    connection.exec_driver_sql(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
                    ends = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
                    connection.execute(ends, {"name": database})
                    paths = ("/transcribe-jobs", "/readyz", "/metrics")
                    answers += [requests.get(url + path, timeout=30).text for path in paths]
                    answers.append(requests.post(f"{url}/transcribe-batch-async", files=files, timeout=30).text)
                    wait_for_line(tmp_path / "output", "no sign of life could be given", processes)
                    connection.exec_driver_sql(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
                answers.append(requests.get(f"{url}/metrics", timeout=30).text)
            finally:
                for process in processes:
                    process.send_signal(signal.SIGTERM)
                for process in processes:
                    process.wait(30)
        written = (tmp_path / "output").read_text()
        assert SECRET not in written
        assert SECRET not in "".join(answers)
        assert "batchscribe.workflow" in written
        if log_format == "json":
            assert {line["logger"].partition(".")[0] for line in objects(written)} >= {"batchscribe"}

    @pytest.mark.parametrize("half", ["api", "worker", "serve", "db upgrade"])
    def test_no_refusal_to_start_writes_it(self, postgres_url: str, tmp_path: Path, half: str) -> None:
        """A wrong address is told in one sentence, with ``***`` in the password's place."""
        url = make_url(postgres_url).set(host="127.0.0.1", port=free_port(), username="u", password=SECRET, query={})
        environment = self.environment(url.render_as_string(hide_password=False), tmp_path, "text", free_port())
        ended = subprocess.run(
            [sys.executable, "-m", "batchscribe", *half.split()],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 2
        assert SECRET not in ended.stdout + ended.stderr
        assert "u:***@127.0.0.1" in ended.stderr
