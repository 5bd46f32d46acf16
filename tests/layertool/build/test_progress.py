"""What a build tells."""

from __future__ import annotations

import io
import json
import os

import pytest

from layertool.build import output
from layertool.build.progress import StepLog, StepName, make_reporter
from layertool.build.text import human_bytes, printable, visible

STEP = StepName("web", 2, 7, "RUN make")


class Tty(io.StringIO):
    """A terminal, as far as anyone asks."""

    def isatty(self) -> bool:
        return True


def tell(style: str, *, quiet: bool = False, out: io.StringIO | None = None) -> str:
    out = out or io.StringIO()
    reporter = make_reporter(style, quiet=quiet, out=out)
    reporter.started(STEP, "a: content changed")
    log = StepLog(reporter, STEP)
    for number in range(30):
        log.output(f"line {number}")
    log.finished(2_500_000)
    reporter.cached(StepName("web", 3, 7, "CMD x"))
    reporter.warning("careful")
    log.failed()
    reporter.close()
    return out.getvalue()


def test_plain() -> None:
    lines = tell("plain").splitlines()
    assert lines[:3] == [
        "[web 2/7] RUN make",
        "  [web 2/7] not cached: a: content changed",
        "  [web 2/7] | line 0",
    ]
    assert "  [web 2/7] done in 0.0 s, 2.5 MB" in lines
    assert "[web 3/7] CMD x  cached" in lines
    assert "warning: careful" in lines
    assert lines[-20:] == [f"  | line {number}" for number in range(10, 30)]


def test_quiet_tells_only_failures() -> None:
    lines = tell("plain", quiet=True).splitlines()
    assert lines[0] == "[web 2/7] RUN make: failed"
    assert len(lines) == 21


def test_json_is_one_object_a_line() -> None:
    events = [json.loads(line) for line in tell("json").splitlines()]
    assert events[0] == {
        "event": "started",
        "stage": "web",
        "step": 2,
        "steps": 7,
        "instruction": "RUN make",
        "why": "a: content changed",
    }
    assert {event["event"] for event in events} == {
        "started", "output", "finished", "cached", "warning", "failed",
    }  # fmt: skip


def test_terminal_view_ends_with_the_same_facts() -> None:
    text = tell("auto", out=Tty())
    assert "RUN make" in text
    assert "content changed" in text
    assert "line 29" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_234_567, "1.23 MB"), (5 * 10**12, "5 TB")],
)
def test_human_bytes(count: int, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain é", "plain é"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("10%\r50%\r100%", "100%"),
        ("done\r", "done"),
        ("a\x00b\x08", "a�b�"),
        ("\x1b", ""),
    ],
)
def test_hostile_output_cannot_drive_the_terminal(line: str, shown: str) -> None:
    assert printable(line) == shown


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"", []),
        (b"\n\n", ["", ""]),
        (b"\xff\n", ["�"]),
        (b"x" * 40_000, ["x" * 16384, "x" * 16384, "x" * (40_000 - 32768)]),
    ],
)
def test_lines(written: bytes, lines: list[str]) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream:
        stream.write(written)
    assert list(output.lines(reader)) == lines
    with pytest.raises(OSError):
        os.fstat(reader)


def test_names_cannot_drive_the_terminal() -> None:
    assert visible("a\x1b[2Jb\nc\udcff é") == "a\\x1b[2Jb\\nc\\udcff é"
