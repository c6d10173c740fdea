"""The figures that a person sees."""

from __future__ import annotations

import pytest

from batchscribe.cli.progress import Board, clock_text, figures


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00"), (59.6, "1:00"), (61.0, "1:01"), (3600.0, "1:00:00"), (36061.0, "10:01:01")]
)
def test_durations_are_written_as_on_a_clock(seconds: float, text: str) -> None:
    """Minutes and seconds, with hours where there are any."""
    assert clock_text(seconds) == text


def test_figures_tell_audio_speed_and_time_left() -> None:
    """What is left is reckoned at the speed so far."""
    assert figures(60.0, 120.0, 5.0) == "1:00 of 2:00, 12x real time, 0:05 left"
    assert figures(60.0, 120.0, 40.0) == "1:00 of 2:00, 1.5x real time, 0:40 left"


def test_figures_tell_only_what_is_known() -> None:
    """No total, no time left; nothing done, no speed."""
    assert figures(0.0, None, 0.0) == "0:00"
    assert figures(0.0, 120.0, 5.0) == "0:00 of 2:00"
    assert figures(60.0, None, 5.0) == "1:00, 12x real time"


def test_off_a_terminal_a_recording_leaves_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs get no bars and no escape codes; brackets in a name are no markup."""
    with Board() as board:
        row = board.row("[red]talk.mp3")
        row.show_upload(5, 10)
        row.show_audio(1.0, 60.0)
        row.end("transcribed", 60.0)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "[red]talk.mp3: transcribed, 1:00 of audio\n"
