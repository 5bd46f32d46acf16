"""What the kernel is given before it asks: small lower files at their first open, symlinks for good."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fstest import layers
from fstest.counting import counted
from fstest.drivers import Mounted, Stack

from unionfs.pagecache import STORE_BYTES

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root")]

Make = Callable[[str, layers.Table], Path]
Mount = Callable[..., Mounted]


@pytest.fixture
def make_stack(make_layer: Make, tmp_path: Path) -> Callable[..., Stack]:
    def make(table: layers.Table, *options: str) -> Stack:
        for part in ("upper", "work"):
            (tmp_path / part).mkdir()
        return Stack((make_layer("base", table),), tmp_path / "upper", tmp_path / "work", options)

    return make


@pytest.mark.parametrize("way", ["upper", "off"])
@pytest.mark.parametrize("size", [1, 4096, 5000, STORE_BYTES])
def test_a_small_lower_file_is_read_without_a_request(
    way: str, size: int, make_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    content = os.urandom(size)
    stack = make_stack({"f": content}, f"passthrough={way}")
    point = tmp_path / "point"
    with counted(stack, point) as counts:
        for _ in range(2):
            assert (point / "f").read_bytes() == content
            assert (point / "f").stat().st_size == size
    assert counts["open"] == 2
    assert "read" not in counts
    if way == "upper":  # with write-back the kernel asks for the blocks after each close
        assert counts.get("getattr", 0) <= 1


@pytest.mark.parametrize("size", [0, STORE_BYTES + 1, (3 << 20) + 5])
def test_others_are_asked_for(size: int, make_stack: Callable[..., Stack], tmp_path: Path) -> None:
    content = os.urandom(size)
    stack = make_stack({"f": content})
    point = tmp_path / "point"
    with counted(stack, point) as counts:
        assert (point / "f").read_bytes() == content
        fd = os.open(point / "f", os.O_RDONLY | os.O_DIRECT)
        try:
            assert os.pread(fd, 1 << 20, 4096) == content[4096 : 4096 + (1 << 20)]
        finally:
            os.close(fd)
    assert ("read" in counts) == bool(size)


def test_a_symlink_is_read_once(make_stack: Callable[..., Stack], tmp_path: Path) -> None:
    stack = make_stack({"l": layers.Symlink("there")})
    point = tmp_path / "point"
    with counted(stack, point) as counts:
        for _ in range(3):
            assert os.readlink(point / "l") == "there"
        (point / "l").rename(point / "m")
        assert os.readlink(point / "m") == "there"
        (point / "l").symlink_to("elsewhere")
        assert os.readlink(point / "l") == "elsewhere"
    assert counts["readlink"] <= 3


@pytest.mark.parametrize("way", ["upper", "off"])
def test_what_the_kernel_was_given_does_not_outlive_a_change(
    way: str, mount: Mount, make_layer: Make
) -> None:
    names = ("append", "cut", "replace", "truncate", "replaced")
    m = mount([make_layer("base", dict.fromkeys(names, "low"))], options=(f"passthrough={way}",))
    early = {name: os.open(m / name, os.O_RDONLY) for name in names}
    try:
        with open(m / "append", "a") as file:
            file.write("+")
        (m / "cut").write_text("n")
        (m / "new").write_text("other")
        os.rename(m / "new", m / "replace")
        os.truncate(m / "truncate", 1)
        (m / "replaced").unlink()
        (m / "replaced").write_text("again")
        assert {name: (m / name).read_text() for name in names} == {
            "append": "low+",
            "cut": "n",
            "replace": "other",
            "truncate": "l",
            "replaced": "again",
        }
        assert {name: os.pread(fd, 9, 0) for name, fd in early.items()} == {
            "append": b"low+",
            "cut": b"n",
            "replace": b"low",
            "truncate": b"l",
            "replaced": b"low",
        }
    finally:
        for fd in early.values():
            os.close(fd)


def test_many_first_readers_at_once(mount: Mount, make_layer: Make) -> None:
    """A page that is being read is locked: giving it to the kernel then would wait for itself."""
    table: layers.Table = {f"f{number}": bytes([number]) * STORE_BYTES for number in range(60)}
    m = mount([make_layer("base", table)])
    wrong: list[str] = []

    def read_all() -> None:
        for name, content in table.items():
            if (m / name).read_bytes() != content:
                wrong.append(name)

    threads = [threading.Thread(target=read_all) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def test_a_trace_shows_every_read(make_stack: Callable[..., Stack], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    stack = make_stack({"f": "low", "l": layers.Symlink("f")}, f"trace={trace}")
    point = tmp_path / "point"
    with counted(stack, point) as counts:
        for _ in range(2):
            assert os.readlink(point / "l") == "f"
        assert (point / "f").read_text() == "low"
    assert counts["readlink"] == 2
    assert counts["read"] == 1
    names = [json.loads(line).get("op") for line in trace.read_text().splitlines()]
    assert names.count("read") == 1
