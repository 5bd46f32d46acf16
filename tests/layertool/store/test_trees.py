"""Trees that their reader may not wholly read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sandboxtest import Account, account, room

from layertool.store.trees import disk_usage

__all__ = ["room"]


@pytest.fixture
def nobody(room: Path) -> Account:
    return account("single")


def as_user(who: Account, code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python outside of any user namespace."""
    return subprocess.run(
        [*who.prefix, sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
@pytest.mark.parametrize("closed", ["inner", "."])
def test_what_may_not_be_read_is_not_measured(
    room: Path, nobody: Account, closed: str, mode: int
) -> None:
    tree = room / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner/file").write_bytes(bytes(100_000))
    (tree / "file").write_bytes(bytes(10_000))
    (tree / closed).chmod(mode)
    du = subprocess.run(
        [*nobody.prefix, "du", "-s", "--block-size=1", str(tree)], capture_output=True, text=True
    )
    code = "import sys; from pathlib import Path; from layertool.store.trees import disk_usage;"
    done = as_user(nobody, code + "print(disk_usage(Path(sys.argv[1])))", tree)
    (tree / closed).chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == int(du.stdout.split()[0])
    assert int(done.stdout) < disk_usage(tree)


def test_a_layer_that_may_not_be_read_is_not_called_damaged(room: Path, nobody: Account) -> None:
    """Or --repair would drop it."""
    room.chmod(0o777)
    code = (
        "import os, sys; from pathlib import Path; from layertool.store import Store\n"
        "room = Path(sys.argv[1]); upper = room / 'upper'; upper.mkdir()\n"
        "(upper / 'closed').write_text('x')\n"
        "store = Store.open(room / 'store'); new = store.commit_layer(upper)\n"
        "os.chmod(store.layer_dir(new.diff_id) / 'closed', 0)\n"
        "print(new.diff_id, flush=True); store.fsck(repair=True)\n"
    )
    done = as_user(nobody, code, room)
    diff_id = done.stdout.strip()
    assert f"layer {diff_id}: closed: Permission denied" in done.stderr
    assert (room / "store/layers/sha256" / diff_id.partition(":")[2] / "diff/closed").exists()
