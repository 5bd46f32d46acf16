"""Mounting from Python, as the README shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fstest import drivers, layers

import unionfs

Make = Callable[[str, layers.Table], Path]
pytestmark = [pytest.mark.mounted]


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("upper", "work", "mountpoint")}
    for path in found.values():
        path.mkdir()
    return found


def test_a_with_block_mounts_and_unmounts(make_layer: Make, places: dict[str, Path]) -> None:
    lowers = [make_layer("top", {"a": "1"}), make_layer("base", {"b": "2"})]
    with unionfs.mount(lowers=lowers, **places) as mounted:
        assert sorted(os.listdir(mounted.mountpoint)) == ["a", "b"]
        (mounted.mountpoint / "c").write_text("3")
        assert Path(f"/proc/{mounted.pid}").exists()
    assert not drivers.is_mounted(places["mountpoint"])
    assert os.listdir(places["upper"]) == ["c"]
    mounted.unmount()  # once more does no harm


def test_unmounting_while_in_use_detaches(make_layer: Make, places: dict[str, Path]) -> None:
    with unionfs.mount(lowers=[make_layer("base", {"a": "1"})], **places) as mounted:
        file = open(mounted.mountpoint / "a")  # noqa: SIM115 - held across the unmount
    assert not drivers.is_mounted(places["mountpoint"])
    assert file.read() == "1"  # the daemon goes on until the last file is closed
    file.close()
    assert not drivers.await_exit([mounted.pid])


def test_what_the_daemon_refuses_is_an_exception(tmp_path: Path, places: dict[str, Path]) -> None:
    with pytest.raises(unionfs.UnionError, match="missing"):
        unionfs.mount(lowers=[tmp_path / "missing"], mountpoint=places["mountpoint"])
    with pytest.raises(TypeError):
        unionfs.mount(lowers=[tmp_path], mountpoint=places["mountpoint"], no_such_option=True)


def test_options_and_odd_paths(tmp_path: Path, places: dict[str, Path]) -> None:
    odd = tmp_path / "a:b,c\\d"
    layers.build(odd, {"f": "x"})
    with unionfs.mount(lowers=[odd], fsname=b"name", **places) as mounted:
        assert (mounted.mountpoint / "f").read_text() == "x"
        table = Path("/proc/self/mountinfo").read_text()
        assert any(" fuse.unionfs name " in line for line in table.splitlines())


def test_importing_needs_no_fuse() -> None:
    code = "import sys, unionfs; unionfs.parse_options; print('pyfuse3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_whoever_mounts_loads_neither_pyfuse3_nor_trio() -> None:
    """They serve the mount, in a process of its own; to load them takes a tenth of a second."""
    code = "import sys, unionfs; unionfs.mount; print(*{'trio', 'pyfuse3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
