"""Logs keep every byte, in order, by stream."""

from __future__ import annotations

import json
import os
import resource
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layertool.sandbox import logs


def record(directory: Path, pieces: list[tuple[str, bytes]]) -> None:
    """Write pieces through pipes, one after the other, as a payload would."""
    pipes = {stream: os.pipe() for stream in ("stdout", "stderr")}
    writer = threading.Thread(target=_write, args=({s: p[1] for s, p in pipes.items()}, pieces))
    writer.start()
    with logs.Log(directory) as log:
        logs.record(log, {reader: stream for stream, (reader, _) in pipes.items()})
    writer.join()


def _write(ends: dict[str, int], pieces: list[tuple[str, bytes]]) -> None:
    for stream, data in pieces:
        os.write(ends[stream], data)
    for end in ends.values():
        os.close(end)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1)), max_size=8)
)
def test_every_byte_survives(tmp_path_factory: object, pieces: list[tuple[str, bytes]]) -> None:
    directory = tmp_path_factory.mktemp("log")  # type: ignore[attr-defined]
    record(directory, pieces)
    for stream in ("stdout", "stderr"):
        kept = b"".join(piece.data for piece in logs.read(directory) if piece.stream == stream)
        assert kept == b"".join(data for name, data in pieces if name == stream)


def test_form_is_dockers(tmp_path: Path) -> None:
    record(tmp_path, [("stderr", b"x\n")])
    (line,) = (tmp_path / logs.FILE).read_text().splitlines()
    entry = json.loads(line)
    assert (entry["log"], entry["stream"]) == ("x\n", "stderr")
    assert entry["time"].endswith("Z")


def test_no_log(tmp_path: Path) -> None:
    assert list(logs.read(tmp_path)) == []


def test_following_sees_what_comes_later(tmp_path: Path) -> None:
    record(tmp_path, [("stdout", b"one")])
    asked = []

    def still_running() -> bool:
        asked.append(None)
        if len(asked) == 1:
            record(tmp_path, [("stdout", b"two")])
        return len(asked) < 3

    assert b"".join(piece.data for piece in logs.read(tmp_path, still_running=still_running)) == (
        b"onetwo"
    )


def test_what_is_logged_is_also_shown(tmp_path: Path) -> None:
    source, end = os.pipe()
    os.write(end, b"text")
    os.close(end)
    shown, copy = os.pipe()
    with logs.Log(tmp_path) as log:
        logs.record(log, {source: "stdout"}, {"stdout": copy})
    os.close(copy)
    assert os.read(shown, 100) == b"text"
    os.close(shown)
    assert [piece.data for piece in logs.read(tmp_path)] == [b"text"]


def test_a_reader_that_leaves_ends_the_writer(tmp_path: Path) -> None:
    """`run debian yes | head -1` must end."""
    source, end = os.pipe()
    shown, copy = os.pipe()
    os.close(shown)
    os.write(end, b"y\n")
    with logs.Log(tmp_path) as log:
        logs.record(log, {source: "stdout"}, {"stdout": copy})
    os.close(copy)
    with pytest.raises(BrokenPipeError):
        os.write(end, b"y\n")
    os.close(end)


def test_a_full_disk_ends_the_log_and_nothing_else(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with logs.Log(tmp_path) as log:
        log.write("stdout", b"kept")
        room = (tmp_path / logs.FILE).stat().st_size + 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            log.write("stdout", b"lost")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        log.write("stdout", b"later")
    assert [piece.data for piece in logs.read(tmp_path)] == [b"kept"]


@pytest.mark.parametrize(
    ("pieces", "count", "kept"),
    [
        ([b"1\n2\n3\n"], 2, b"2\n3\n"),
        ([b"1\n2\n3\n"], 9, b"1\n2\n3\n"),
        ([b"1\n2\n3\n"], 0, b""),
        ([b"1\n2\n3"], 1, b"3"),
        ([b"1\n2", b"2", b"2\n3\n"], 2, b"222\n3\n"),
        ([], 1, b""),
    ],
)
def test_the_last_lines(tmp_path: Path, pieces: list[bytes], count: int, kept: bytes) -> None:
    with logs.Log(tmp_path) as log:
        for data in pieces:
            log.write("stdout", data)
    assert b"".join(piece.data for piece in logs.read(tmp_path, last=count)) == kept
