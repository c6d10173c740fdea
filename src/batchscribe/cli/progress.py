"""What a person sees while recordings are transcribed: bars on a terminal, a line at each end elsewhere; on stderr."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from batchscribe.client.answers import Job

_STATES = {"QUEUED": "queued", "IN_PROGRESS": "transcribing", "COMPLETED": "done", "FAILED": "failed"}


def clock_text(seconds: float) -> str:
    """Write a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def speed_text(audio_seconds: float, busy_seconds: float) -> str:
    """Write a speed as a multiple of real time."""
    speed = audio_seconds / max(busy_seconds, 0.001)
    return f"{speed:.0f}x real time" if speed >= 10 else f"{speed:.1f}x real time"


def figures(done_seconds: float, total_seconds: float | None, busy_seconds: float) -> str:
    """Write how much audio is done, how fast, and how long the rest will take at that speed."""
    parts = [clock_text(done_seconds) + (f" of {clock_text(total_seconds)}" if total_seconds else "")]
    if done_seconds > 0 and busy_seconds >= 0.1:
        parts.append(speed_text(done_seconds, busy_seconds))
        if total_seconds:
            left_seconds = (total_seconds - done_seconds) * busy_seconds / done_seconds
            parts.append(f"{clock_text(max(0.0, left_seconds))} left")
    return ", ".join(parts)


class Board:
    """The rows of all recordings that are under way. Enter it to show them."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        self._is_live = console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            transient=True,
            disable=not self._is_live,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def row(self, title: str) -> Row:
        """Add a row for one recording."""
        shown = title if len(title) <= 40 else f"{title[:24]}...{title[-13:]}"
        task_id = self._bars.add_task(shown, total=None, state="waiting", figures="")
        return Row(title, self, self._bars, task_id)

    def say(self, sentence: str) -> None:
        """Print a line that stays, above the bars."""
        if self._is_live:
            self._bars.console.print(sentence, markup=False, soft_wrap=True)
        else:
            click.echo(sentence, err=True)


class Row:
    """One recording on the board."""

    def __init__(self, title: str, board: Board, bars: Progress, task_id: TaskID) -> None:
        self.title = title
        self._board = board
        self._bars = bars
        self._task_id = task_id
        self._busy_since: float | None = None
        self._total_seconds: float | None = None

    def show_upload(self, sent_bytes: int, total_bytes: int) -> None:
        """Show how much has been sent."""
        total_megabytes = max(total_bytes, 1) / 1e6
        text = f"{sent_bytes / 1e6:.1f} of {total_megabytes:.1f} MB"
        self._bars.update(
            self._task_id, state="uploading", figures=text, completed=sent_bytes, total=max(total_bytes, 1)
        )

    def show_audio(self, done_seconds: float, total_seconds: float | None, state: str = "transcribing") -> None:
        """Show how much audio is done; the total is None while nobody knows it."""
        now = time.monotonic()
        if self._busy_since is None and state == "transcribing":
            self._busy_since = now
        self._total_seconds = total_seconds
        busy_seconds = 0.0 if self._busy_since is None else now - self._busy_since
        text = figures(done_seconds, total_seconds, busy_seconds)
        self._bars.update(self._task_id, state=state, figures=text, completed=done_seconds, total=total_seconds)

    def show_job(self, job: Job) -> None:
        """Show how far a job of the server is."""
        if job.fetched_bytes is not None:
            total = job.fetch_total_bytes
            text = f"{job.fetched_bytes / 1e6:.1f}" + (f" of {total / 1e6:.1f} MB" if total else " MB")
            self._bars.update(
                self._task_id, state="fetching", figures=text, completed=job.fetched_bytes, total=total or None
            )
            return
        self.show_audio(job.done_seconds or 0.0, job.media_duration_seconds, _STATES[job.status.value])

    def warn(self, warnings: tuple[str, ...]) -> None:
        """Leave a line for each thing that went less than well with the recording."""
        for warning in warnings:
            self._board.say(f"{self.title}: note: {warning}")

    def end(self, sentence: str, audio_seconds: float | None = None) -> None:
        """Take the row away and leave a line."""
        self._bars.remove_task(self._task_id)
        audio = f", {clock_text(audio_seconds)} of audio" if audio_seconds else ""
        busy = time.monotonic() - self._busy_since if self._busy_since is not None else 0.0
        took = f" in {clock_text(busy)} ({speed_text(audio_seconds, busy)})" if audio_seconds and busy >= 5 else ""
        self._board.say(f"{self.title}: {sentence}{audio}{took}")
