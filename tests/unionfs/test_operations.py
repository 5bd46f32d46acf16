"""The adapter's promise: whatever goes wrong in a handler, the mount lives on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fstest import drivers, layers
from fstest.drivers import Mounted, Stack

Make = Callable[[str, layers.Table], Path]
Mount = Callable[..., Mounted]

FAULTY = """
import sys
from unionfs import cli, union
def broken(self, parent, name, mode, caller):
    raise ValueError("planted")
union.Union.mkdir = broken
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def faulty(make_layer: Make, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A mount whose mkdir raises what no handler should; (mountpoint, log)."""
    base, point, log = make_layer("base", {"f": "x"}), tmp_path / "mnt", tmp_path / "log"
    for name in ("upper", "work", "mnt"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={base},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    with open(log, "w") as stderr:
        daemon = subprocess.Popen(
            [sys.executable, "-c", FAULTY, "-f", "-o", options, str(point)], stderr=stderr
        )
    try:
        deadline = time.monotonic() + 20
        while not drivers.is_mounted(point) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield point, log
    finally:
        subprocess.run(["umount", "-l", str(point)], check=False)
        daemon.wait(20)


@pytest.mark.mounted
@pytest.mark.needs("root")
def test_an_unexpected_exception_is_eio_and_one_log_entry(faulty: tuple[Path, Path]) -> None:
    point, log = faulty
    for _ in range(3):
        with pytest.raises(OSError) as caught:
            (point / "d").mkdir()
        assert caught.value.errno == errno.EIO
    (point / "still").write_text("alive")
    assert sorted(os.listdir(point)) == ["f", "still"]
    said = log.read_text()
    assert said.count("planted") == 3
    assert "mkdir" in said
    assert "'d'" in said


@pytest.mark.mounted
@pytest.mark.needs("root")
def test_a_layer_that_disappears_fails_for_its_nodes_alone(
    mount: Callable[..., drivers.Mounted], make_layer: Make
) -> None:
    top, base = make_layer("top", {"a": "1"}), make_layer("base", {"d/b": "2"})
    m = mount([top, base])
    os.listdir(m)
    (base / "d/b").unlink()
    (base / "d").rmdir()
    with pytest.raises(OSError) as caught:
        os.listdir(m / "d")
    assert caught.value.errno in (errno.ENOENT, errno.EIO, errno.ESTALE)
    assert (m / "a").read_text() == "1"
    (m / "new").write_text("still writable")


@pytest.mark.mounted
@pytest.mark.needs("root")
def test_an_idle_mount_uses_no_processor(
    mount: Callable[..., drivers.Mounted], make_layer: Make
) -> None:
    m = mount([make_layer("base", {"a": "1"})])
    (m / "a").read_text()
    time.sleep(0.2)
    (pid,) = m.pids()
    before = cpu_ticks(pid)
    time.sleep(2)
    assert cpu_ticks(pid) - before <= 1


def cpu_ticks(pid: int) -> int:
    """User and system time of a process, in clock ticks (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.mounted
@pytest.mark.needs("root")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_daemon_whose_caller_closed_descriptors(
    closed: str, make_layer: Make, tmp_path: Path
) -> None:
    """Their numbers must not be those of a layer, which would give way to /dev/null."""
    lower, point = make_layer("base", {"f": "x"}), tmp_path / "mnt"
    for directory in (point, tmp_path / "up", tmp_path / "work"):
        directory.mkdir()
    options = f"lowerdir={lower},upperdir={tmp_path}/up,workdir={tmp_path}/work"
    program = drivers.UNIONFS.command(Stack((lower,)), point)[0]
    command = ["sh", "-c", f'exec "$0" -o "$1" "$2" {closed}', program, options, str(point)]
    status = subprocess.run(command, timeout=30).returncode
    try:
        assert status == 0
        assert (point / "f").read_text() == "x"
        (point / "new").write_text("y")
        assert (tmp_path / "up/new").read_text() == "y"
    finally:
        subprocess.run(["umount", str(point)], check=False)


@pytest.mark.mounted
@pytest.mark.needs("root")
def test_a_lower_file_that_cannot_be_read_fails_alone(mount: Mount, make_layer: Make) -> None:
    lower = make_layer("base", {"big": b"x" * (1 << 20), "ok": "fine"})
    m = mount([lower])
    assert (m / "big").stat().st_size == 1 << 20
    (lower / "big").unlink()
    (lower / "big").mkdir()
    with pytest.raises(OSError):
        (m / "big").read_bytes()
    assert (m / "ok").read_text() == "fine"
