"""Files that the kernel reads and writes by itself: that it does, and that nobody can tell."""

from __future__ import annotations

import mmap
import os
import platform
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fstest import layers
from fstest.counting import counted
from fstest.drivers import Mounted, Stack

from unionfs.pagecache import STORE_BYTES

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root", "setcap")]

Make = Callable[[str, layers.Table], Path]
Mount = Callable[..., Mounted]
LARGE = b"low" * STORE_BYTES
every_way = pytest.mark.parametrize("way", ["upper", "all", "off"])


def needs_kernel() -> None:
    """Skip where the kernel is too old; our own check is what is under test."""
    if tuple(map(int, platform.release().split(".")[:2])) < (6, 9):
        pytest.skip("impossible here: FUSE passthrough came with Linux 6.9")


@pytest.mark.parametrize(
    ("way", "asked"), [("upper", {"read"}), ("all", set()), ("off", {"read", "write"})]
)
def test_who_reads_and_writes(way: str, asked: set[str], make_layer: Make, tmp_path: Path) -> None:
    needs_kernel()
    lower = make_layer("base", {"low": LARGE})
    for part in ("upper", "work"):
        (tmp_path / part).mkdir()
    stack = Stack((lower,), tmp_path / "upper", tmp_path / "work", (f"passthrough={way}",))
    point = tmp_path / "counted"
    with counted(stack, point) as counts:
        assert (point / "low").read_bytes() == LARGE
        (point / "new").write_text("n" * 10000)
        assert (point / "new").read_text() == "n" * 10000
    assert counts["open"] >= 2
    assert {name for name in ("read", "write") if counts.get(name)} == asked


def test_of_a_read_only_mount_the_kernel_reads_lower_files(
    make_layer: Make, tmp_path: Path
) -> None:
    needs_kernel()
    lower = make_layer("base", {"low": LARGE})
    point = tmp_path / "counted"
    with counted(Stack((lower,)), point) as counts:
        assert (point / "low").read_bytes() == LARGE
    assert counts["open"] == 1
    assert "read" not in counts


@every_way
def test_what_is_written_is_seen_at_once(way: str, mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": "low"})], options=(f"passthrough={way}",))
    with open(m / "f", "ab", buffering=0) as writer, open(m / "f", "rb", buffering=0) as reader:
        for number in range(3):
            writer.write(b"+")
            assert reader.read() == (b"low+" if not number else b"+")
            assert (m / "f").stat().st_size == 4 + number
            assert os.fstat(reader.fileno()).st_size == 4 + number
    assert (m / "f").read_text() == "low+++"


@every_way
def test_a_reader_of_the_lower_file_sees_what_is_written(
    way: str, mount: Mount, make_layer: Make
) -> None:
    """A file cannot be of both kinds at once: the reader keeps the writer from the short way."""
    m = mount([make_layer("base", {"f": "low"})], options=(f"passthrough={way}",))
    with open(m / "f", "rb", buffering=0) as early:
        assert early.read() == b"low"
        with open(m / "f", "ab", buffering=0) as writer, open(m / "f", "rb", buffering=0) as late:
            writer.write(b" and new")
            assert early.read() == b" and new"
            assert late.read() == b"low and new"
        assert (m / "f").read_text() == "low and new"
    with open(m / "f", "ab") as writer:
        writer.write(b"!")
    assert (m / "f").read_text() == "low and new!"


def test_with_all_an_early_reader_keeps_the_lower_file(mount: Mount, make_layer: Make) -> None:
    """The price of reading lower files the short way, which only larger ones go."""
    needs_kernel()
    m = mount([make_layer("base", {"f": LARGE, "t": LARGE})], options=("passthrough=all",))
    with open(m / "f", "rb", buffering=0) as early, open(m / "t", "rb") as cut:
        with open(m / "f", "ab") as writer:
            writer.write(b" and new")
        os.truncate(m / "t", 1)
        assert early.read() == LARGE
        assert cut.read() == LARGE
        assert (m / "f").read_bytes() == LARGE + b" and new"
        assert (m / "t").read_text() == "l"
        (m / "f").chmod(0o600)
        assert stat.S_IMODE((m / "f").stat().st_mode) == 0o600
        assert stat.S_IMODE(os.fstat(early.fileno()).st_mode) == 0o644
    assert (m / "f").read_bytes() == LARGE + b" and new"


def test_with_all_attributes_change_under_an_early_reader(mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"f": LARGE})], options=("passthrough=all",))
    with open(m / "f", "rb", buffering=0) as early:
        (m / "f").chmod(0o600)
        assert stat.S_IMODE(os.fstat(early.fileno()).st_mode) == 0o600
        with open(m / "f", "ab") as writer:
            writer.write(b" and new")
        assert early.read() == LARGE
    assert (m / "f").read_bytes() == LARGE + b" and new"
    assert (m / "f").stat().st_nlink == 1


def as_user(directory: Path | Mounted, deed: Callable[[], object]) -> None:
    """Do something in *directory* as user 1234, who need not get there by himself."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.chdir(directory)
            os.setgroups([])
            os.setresgid(1234, 1234, 1234)
            os.setresuid(1234, 1234, 1234)
            deed()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


@every_way
def test_a_write_by_a_user_clears_setuid(way: str, mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {})], options=(f"passthrough={way}",))
    (m / "f").write_text("program")
    (m / "f").chmod(0o6777)
    as_user(m, lambda: os.write(os.open("f", os.O_WRONLY), b"x"))
    assert stat.S_IMODE((m / "f").stat().st_mode) == 0o777


@every_way
def test_a_write_through_an_older_descriptor_clears_setuid(
    way: str, mount: Mount, make_layer: Make
) -> None:
    """The kernel took the file over before it was setuid, and no stat(2) comes before the exec."""
    m = mount([make_layer("base", {})], options=(f"passthrough={way}",))
    with open(m / "f", "w") as file:
        (m / "f").chmod(0o6777)
        as_user(m, lambda: os.write(file.fileno(), b"x"))
        assert stat.S_IMODE((m / "f").stat().st_mode) == 0o777


@every_way
def test_truncating_by_a_user_clears_setuid(way: str, mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {})], options=(f"passthrough={way}",))
    (m / "f").write_text("program")
    (m / "f").chmod(0o6777)
    as_user(m, lambda: os.truncate("f", 2))
    assert stat.S_IMODE((m / "f").stat().st_mode) == 0o777


@every_way
def test_root_writes_a_setuid_file_and_it_stays_so(
    way: str, mount: Mount, make_layer: Make
) -> None:
    m = mount([make_layer("base", {})], options=(f"passthrough={way}",))
    (m / "f").write_text("program")
    (m / "f").chmod(0o6755)
    with open(m / "f", "a") as file:
        file.write("more")
    assert stat.S_IMODE((m / "f").stat().st_mode) == 0o6755


@every_way
def test_a_write_removes_file_capabilities(way: str, mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {})], options=(f"passthrough={way}",))
    (m / "f").write_text("program")
    subprocess.run(["setcap", "cap_net_raw=ep", m / "f"], check=True)
    assert "security.capability" in os.listxattr(m / "f")
    with open(m / "f", "a") as file:
        file.write("more")
    assert "security.capability" not in os.listxattr(m / "f")


@every_way
def test_a_mapping_moves_mtime(way: str, mount: Mount, make_layer: Make) -> None:
    """It outlives its descriptor, and the kernel tells nobody of what is written through it."""
    m = mount([make_layer("base", {})], options=(f"passthrough={way}",))
    (m / "f").write_bytes(bytes(4096))
    (m / "f").stat()
    fd = os.open(m / "f", os.O_RDWR)
    with mmap.mmap(fd, 4096) as view:
        os.close(fd)
        os.utime(m / "f", ns=(10**18, 10**18))
        view[:5] = b"hello"
        view.flush()
        assert (m / "f").stat().st_mtime_ns > 10**18
    assert (m / "f").read_bytes()[:5] == b"hello"


@pytest.mark.parametrize("way", ["upper", "all"])
def test_reading_moves_atime_once(way: str, mount: Mount, make_layer: Make) -> None:
    """As relatime has it: an upper file's access time follows the first read after a change."""
    m = mount([make_layer("base", {"low": "x"})], options=(f"passthrough={way}",))
    (m / "f").write_text("x")
    os.utime(m / "f", ns=(10**18, (m / "f").stat().st_mtime_ns))
    before = (m / "low").stat().st_atime_ns
    for name in ("f", "low"):
        (m / name).read_text()
    assert (m / "f").stat().st_atime_ns > 10**18
    assert (m / "low").stat().st_atime_ns == before


@every_way
def test_an_unlinked_file_lives_on(way: str, mount: Mount, make_layer: Make) -> None:
    m = mount([make_layer("base", {"low": "lower"})], options=(f"passthrough={way}",))
    with open(m / "low", "rb", buffering=0) as lower, open(m / "new", "w+b", buffering=0) as new:
        new.write(b"upper")
        (m / "low").unlink()
        (m / "new").unlink()
        (m / "low").write_text("another")
        assert lower.read() == b"lower"
        assert os.pread(new.fileno(), 9, 0) == b"upper"
        new.write(b"!")
        assert os.fstat(new.fileno()).st_size == 6
    assert (m / "low").read_text() == "another"


@every_way
def test_files_opened_at_once_are_all_answered(way: str, mount: Mount, make_layer: Make) -> None:
    """An amended reply goes on with the next wait of its task, so no task may end before that.

    Large copy-ups are made in threads; pyfuse3 ends tasks beyond a number of idle ones.
    """
    names = [f"large{number}" for number in range(8)]
    low = make_layer("low", {name: layers.File(bytes(5 << 20)) for name in names})
    m = mount([low], options=[f"passthrough={way}"])
    openers = [subprocess.Popen(["sh", "-c", f": >>{m / name}"]) for name in names]
    try:
        assert [opener.wait(timeout=20) for opener in openers] == [0] * len(names)
    except subprocess.TimeoutExpired:
        for pid in m.pids():
            os.kill(pid, signal.SIGKILL)  # or the openers, and the mount with them, stay for good
        raise
    finally:
        for opener in openers:
            opener.wait()
