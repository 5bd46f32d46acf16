"""A power cut at any system call shows the old state or the new one, and what fsync(2) promised."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unionfs.errors import UnionError
from unionfs.testing.mutations import MUTATIONS, Mutation
from unionfs.testing.powerloss import Disk, power_matrix, run

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root", "mkfs.ext4")]

BY_NAME = {mutation.name: mutation for mutation in MUTATIONS}
COPIED_UP = BY_NAME["copy-up: file"]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A disk that can lose power."""
    reason = no_loop_device()
    if reason:
        pytest.skip(f"impossible here: no loop device: {reason}")
    with Disk(str(tmp_path_factory.mktemp("power"))) as made:
        yield made


def no_loop_device() -> str:
    """Why there is none; empty when there is one."""
    try:
        run("losetup", "--find")
    except UnionError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutation",
    [
        COPIED_UP,
        BY_NAME["copy-up: hard link"],
        BY_NAME["write: new file, fsync"],
        BY_NAME["write: lower file, fsync"],
        BY_NAME["rename: lower directory"],
        BY_NAME["truncate: lower file"],
    ],
    ids=lambda mutation: mutation.name,
)
def test_the_power_is_cut_after_any_call(disk: Disk, mutation: Mutation) -> None:
    matrix = power_matrix(disk, [mutation])
    assert not matrix.failures, "\n".join(map(str, matrix.failures))
    assert matrix.kills == matrix.points[mutation.name] > 0


def test_without_fsync_a_copy_loses_its_data(disk: Disk) -> None:
    """The same test finds what fsync=volatile gives up, so it can find what it looks for."""
    matrix = power_matrix(disk, [COPIED_UP], "unionfs:fsync=volatile")
    assert any('"content": "0:"' in failure.what for failure in matrix.failures)


def test_a_disk_leaves_nothing(tmp_path: Path) -> None:
    with Disk(str(tmp_path)) as disk:
        Path(disk.root, "f").write_text("x")
        disk.cut(str(tmp_path / "cut.img"))
    assert os.listdir(tmp_path) == ["cut.img"]
    with pytest.raises(UnionError, match="mkfs"):
        run("mkfs.ext4", "-q", str(tmp_path / "absent"))


@pytest.mark.usefixtures("disk")
def test_the_program_cuts_the_power_too() -> None:
    command = [sys.executable, "-m", "unionfs.testing", "crash", "--power-loss"]
    done = subprocess.run(
        [*command, "--mutation", "mkdir: new"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 kills, 0 errors, 0 failures" in done.stdout
