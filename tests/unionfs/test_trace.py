"""A trace: each request with its answer, within its limit, and nothing when it is off."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from fstest import layers
from fstest.drivers import Mounted

from unionfs.errors import UnionError
from unionfs.inventory import inventory
from unionfs.operations import Operations
from unionfs.options import parse_options
from unionfs.stack import Opened, open_union
from unionfs.stats import OPERATIONS
from unionfs.testing import layers as lab_layers
from unionfs.trace import ARGUMENTS, TEXT_BYTES, WRITTEN_BYTES, Trace, content

Make = Callable[[str, layers.Table], Path]
Mount = Callable[..., Mounted]


def records(path: Path) -> list[dict[str, Any]]:
    """The lines of a trace, once its last one is there."""
    deadline = time.monotonic() + 10
    while '"end"' not in path.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_handler_is_recorded() -> None:
    assert set(OPERATIONS) == set(ARGUMENTS)
    for name, arguments in ARGUMENTS.items():
        code = getattr(Operations, name)
        code = getattr(code, "__wrapped__", code).__code__
        assert code.co_argcount == len(arguments) + 1, name


@pytest.mark.mounted
@pytest.mark.needs("root")
def test_requests_and_answers(make_layer: Make, mount: Mount, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    base = make_layer("base", {"d/f": "text", "s": layers.Symlink("d/f")})
    mounted = mount([base], options=[f"trace={trace}"])
    point = mounted.point
    (point / "d/f").read_text()
    (point / "new").write_bytes(b"x" * 5000)
    os.rename(point / "d", point / "e")
    os.setxattr(point / "new", "user.name", b"value")
    os.listdir(point)
    with pytest.raises(FileNotFoundError):
        os.stat(point / "absent")
    mounted.unmount()

    header, *requests, last = records(trace)
    assert stat.S_IMODE(trace.stat().st_mode) == 0o600
    assert header["trace"] == 1
    assert f"lowerdir={base}" in header["options"]
    assert [entry["path"] for entry in header["layers"][1]] == ["d", "s", "d/f"]
    assert last == {"end": "unmounted", "requests": len(requests)}

    def one(operation: str, **wanted: Any) -> dict[str, Any]:
        (found,) = (
            r for r in requests
            if r["op"] == operation and all(r.get(n) == v for n, v in wanted.items())
        )  # fmt: skip
        assert found["ns"] > 0
        return found

    assert one("read", path="d/f")["result"] == "4:text"
    assert one("lookup", path="absent")["errno"] == "ENOENT"
    assert one("rename", path="d")["new path"] == "e"
    assert one("setxattr", path="new")["value"] == "value"
    written = one("write", path="new")
    assert (written["size"], written["result"]) == (5000, 5000)
    assert "data" not in written
    created = one("create", path="new")
    assert created["attr"]["uid"] == 0
    assert created["id"] == written["id"]
    listed = [name for r in requests if r["op"] == "readdir" for name in r["result"]]
    assert sorted(listed) == [".", "..", "e", "new", "s"]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """A union without a mount."""
    for name in ("low", "up", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "low" / "f").write_text("x")
    text = "lowerdir=low,upperdir=up,workdir=work"
    union = open_union(
        parse_options([text], mountpoint="mnt", cwd=bytes(tmp_path)), lambda node, st: None
    )
    yield union
    union.close()


class Fake:
    """An object with handlers, as pyfuse3 sees them."""

    read: Callable[..., Coroutine[Any, Any, bytes]]

    def __init__(self) -> None:
        for name in ARGUMENTS:
            setattr(self, name, self.handler)
        self.calls = 0

    async def handler(self, *arguments: Any) -> bytes:
        self.calls += 1
        return b"ab"


def test_a_full_trace_says_so_and_costs_nothing_more(opened: Opened, tmp_path: Path) -> None:
    operations, path = Fake(), tmp_path / "trace"
    trace = Trace(bytes(path), opened.union.tree, {}, limit=2000)
    trace.install(operations)
    recording = operations.read
    for _ in range(100):
        asyncio.run(operations.read(1, 0, 10))
    assert operations.calls == 100
    assert operations.read != recording
    lines = records(path)
    assert "full: 2000 bytes" in lines[-1]["end"]
    assert lines[-1]["requests"] == len(lines) - 2 < 100
    assert path.stat().st_size < 2300


def test_a_full_disk_ends_the_trace_and_nothing_else(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    operations = Fake()
    trace = Trace(b"/dev/full", opened.union.tree, {}, limit=2000)
    trace.install(operations)
    for _ in range(100):
        assert asyncio.run(operations.read(1, 0, 10)) == b"ab"
    trace.end()
    assert "No space left on device" in caplog.text
    assert len(caplog.records) == 1


def test_a_crash_loses_no_more_than_a_second(opened: Opened, tmp_path: Path) -> None:
    operations, path = Fake(), tmp_path / "trace"
    trace = Trace(bytes(path), opened.union.tree, {})
    trace.install(operations)
    asyncio.run(operations.read(1, 0, 10))
    time.sleep(1.05)
    asyncio.run(operations.read(1, 0, 10))
    assert path.read_text().count('"op":"read"') == 2
    trace.close()


def test_a_trace_that_cannot_be_written_is_refused(opened: Opened, tmp_path: Path) -> None:
    with pytest.raises(UnionError, match="name a file that can be written"):
        Trace(bytes(tmp_path / "absent" / "trace"), opened.union.tree, {})


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", "0:"),
        (b"\xff" * TEXT_BYTES, f"{TEXT_BYTES}:" + "\xff" * TEXT_BYTES),
        (b"a" * (TEXT_BYTES + 1), f"{TEXT_BYTES + 1}:sha256:635361c48bb9eab1"),
    ],
)
def test_long_content_is_a_hash(data: bytes, shown: str) -> None:
    assert content(data) == shown
    assert WRITTEN_BYTES > TEXT_BYTES


@pytest.mark.needs("root")
def test_the_layers_in_a_trace_can_be_built_again(tmp_path: Path) -> None:
    """As the lab builds them; times apart, what is on disk is the same."""
    layer: lab_layers.Layer = (
        lab_layers.directory("d", mode=0o751, uid=3, gid=4),
        lab_layers.directory("o", opaque=True),
        lab_layers.file("d/f", "te\xffxt", mode=0o4711),
        lab_layers.hardlink("d/g", "d/f"),
        lab_layers.file("x", "v", xattrs={"user.a": "1", "trusted.overlay.redirect": "/y"}),
        lab_layers.symlink("s", "else/where"),
        lab_layers.special("c", "char", (1, 3)),
        lab_layers.special("p", "fifo"),
        lab_layers.whiteout("w"),
    )
    shown = []
    for name in ("first", "second"):
        root = str(tmp_path / name)
        lab_layers.build(root, layer, "trusted")
        union = open_union(parse_options([f"lowerdir={root}"], mountpoint="/m"), lambda *_: None)
        try:
            shown.append(inventory(union.union.tree.stack))
            assert inventory(union.union.tree.stack, most=8) is None
        finally:
            union.close()
        (layer,) = lab_layers.decode(json.dumps(shown[-1]))
    assert shown[0] == shown[1]
    assert len(layer) == 9
