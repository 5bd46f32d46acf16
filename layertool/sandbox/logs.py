"""The output of detached containers: one JSON object a line, in docker's json-file form.

Bytes that are no UTF-8 survive as lone surrogates (`surrogateescape`).
"""

from __future__ import annotations

import json
import os
import selectors
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from layertool.sandbox.state import now

FILE: Final = "output.log"
_CHUNK: Final = 65536
_FOLLOW_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Piece:
    """Some output as it came: `stream` is stdout or stderr."""

    stream: str
    data: bytes
    time: str


def record(directory: Path, sources: Mapping[int, str]) -> None:
    """Copy descriptors (to the name of their stream) into the log until all have ended."""
    with open(directory / FILE, "ab", buffering=0) as log, selectors.DefaultSelector() as selector:
        for fd, stream in sources.items():
            selector.register(fd, selectors.EVENT_READ, stream)
        while selector.get_map():
            for key, _ in selector.select():
                data = _read(key.fd)
                if data:
                    log.write(_encode(key.data, data))
                else:
                    selector.unregister(key.fd)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError:  # EIO: a terminal whose other side is closed
        return b""


def _encode(stream: str, data: bytes) -> bytes:
    text = data.decode("utf-8", "surrogateescape")
    return json.dumps({"log": text, "stream": stream, "time": now()}).encode() + b"\n"


def read(directory: Path, *, still_running: Callable[[], bool] | None = None) -> Iterator[Piece]:
    """All output so far; with `still_running`, also what comes until that turns false."""
    try:
        log = open(directory / FILE, "rb")  # noqa: SIM115 - closed below, after an early return
    except FileNotFoundError:
        return
    with log:
        pending = b""
        while True:
            running = still_running is not None and still_running()
            pending += log.read()
            *lines, pending = pending.split(b"\n")
            for line in lines:
                yield _decode(line)
            if not running:
                return
            time.sleep(_FOLLOW_SECONDS)


def _decode(line: bytes) -> Piece:
    entry = json.loads(line)
    data = str(entry["log"]).encode("utf-8", "surrogateescape")
    return Piece(str(entry["stream"]), data, str(entry["time"]))
