"""Merged views: many layers, odd paths, no layers at all, every way to mount overlayfs."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from layertool.errors import LayertoolError
from layertool.sandbox import linux, merge, overlay
from layertool.sandbox.initlayer import InitLayer
from layertool.sandbox.merge import merged

pytestmark = pytest.mark.needs("root", "overlay")
DRIVERS = ["kernel", pytest.param("fuse", marks=pytest.mark.mounted)]


def layer(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_text(content)
    return path


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("count", [1, 2, 150, 400])
def test_many_layers(tmp_path: Path, driver: str, count: int) -> None:
    base = tmp_path / ("a rather long directory name, to leave no room in a page of options " * 2)
    layers = [
        layer(base / str(n), **{f"f{n}": str(n), "same": str(n)}) for n in reversed(range(count))
    ]
    with merged(layers, tmp_path / "u", tmp_path / "w", tmp_path / "at", driver) as root:
        assert len(list(root.iterdir())) == count + 1
        assert (root / "same").read_text() == str(count - 1)
        (root / "same").write_text("mine")
    assert (tmp_path / "u/same").read_text() == "mine"


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", ["a:b", "a,b", "a\\b", "a b", 'a"b', "a=b", "ü\udcff", "%s", "-o"])
def test_odd_characters(tmp_path: Path, driver: str, name: str) -> None:
    room = tmp_path / name
    lowers = [layer(room / "top", one="1"), layer(room / f"low{name}", two="2")]
    with merged(lowers, room / "u", room / "w", room / "at", driver) as root:
        assert sorted(entry.name for entry in root.iterdir()) == ["one", "two"]
        (root / "three").touch()
    assert (room / "u/three").exists()


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_read_only_without_an_upper(tmp_path: Path, driver: str, layers: int) -> None:
    lowers = [layer(tmp_path / str(n), **{f"f{n}": ""}) for n in range(layers)]
    with merged(lowers, None, None, tmp_path / "at", driver) as root:
        assert len(list(root.iterdir())) == layers
        with pytest.raises(OSError) as caught:
            (root / "new").touch()
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize("driver", DRIVERS)
def test_whiteouts_hide_even_with_one_layer(tmp_path: Path, driver: str) -> None:
    only = layer(tmp_path / "only", shown="")
    os.mknod(only / "hidden", 0o20000, 0)
    with merged([only], None, None, tmp_path / "at", driver) as root:
        assert [entry.name for entry in root.iterdir()] == ["shown"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_scratch_with_an_init_layer(tmp_path: Path, driver: str) -> None:
    init = InitLayer.standard(hostname="box")
    with merged([], tmp_path / "u", tmp_path / "w", tmp_path / "at", driver, init=init) as root:
        assert (root / "etc/hostname").read_text() == "box\n"
        (root / "file").touch()
    assert [entry.name for entry in (tmp_path / "u").iterdir()] == ["file"]
    assert not (tmp_path / "at.init").exists()


@pytest.mark.parametrize("driver", DRIVERS)
def test_root_directory_keeps_the_images_attributes(tmp_path: Path, driver: str) -> None:
    base = layer(tmp_path / "base")
    base.chmod(0o2711)
    os.chown(base, 5, 6)
    init = InitLayer.standard()
    with merged([base], tmp_path / "u", tmp_path / "w", tmp_path / "at", driver, init=init) as root:
        info = root.stat()
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o2711, 5, 6)


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_stays_mounted_after_an_error(tmp_path: Path, driver: str) -> None:
    base = layer(tmp_path / "base", one="1")
    held: list[Any] = []
    with (
        pytest.raises(RuntimeError),
        merged([base], tmp_path / "u", tmp_path / "w", tmp_path / "at", driver) as root,
    ):
        # An open file makes a plain unmount fail.
        held.append((root / "one").open())
        raise RuntimeError
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    with contextlib.suppress(OSError):  # the union behind it is gone
        held[0].close()


def test_volatile_upper_cannot_be_mistaken_for_a_synced_one(tmp_path: Path) -> None:
    base = layer(tmp_path / "base")
    with merged(
        [base], tmp_path / "u", tmp_path / "w", tmp_path / "at", "kernel", volatile=True
    ) as root:
        (root / "x").touch()
    with (
        pytest.raises(LayertoolError),
        merged([base], tmp_path / "u", tmp_path / "w", tmp_path / "at", "kernel"),
    ):
        pass


@pytest.mark.parametrize("attempt", overlay._ATTEMPTS, ids=lambda attempt: attempt.__name__)
def test_every_way_to_mount(tmp_path: Path, attempt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older kernels take only the later ways; each alone must do."""
    monkeypatch.setattr(overlay, "_ATTEMPTS", (attempt,))
    lowers = [layer(tmp_path / f"l:{n}", **{f"f{n}": ""}) for n in range(3)]
    with merged(lowers, tmp_path / "u,", tmp_path / "w", tmp_path / "at", "kernel") as root:
        assert len(list(root.iterdir())) == 3
        (root / "f0").unlink()
    assert (tmp_path / "u," / "f0").is_char_device()


def test_auto_falls_back_where_overlayfs_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert merge.choose("auto", [tmp_path], tmp_path / "upper") == "kernel"
    assert merge.choose("auto", [tmp_path] * 501, tmp_path / "upper") == "fuse"
    proc = Path("/proc/self")
    assert merge.choose("auto", [tmp_path], proc / "upper") == "fuse"


def test_probe_sees_a_file_system_that_cannot_hold_an_upper(tmp_path: Path) -> None:
    """An overlay as the upper's file system: mounting may work, whiteouts may not."""
    (tmp_path / "fs").mkdir()
    linux.mount("none", os.fsencode(tmp_path / "fs"), "ramfs")
    try:
        assert overlay.why_not(tmp_path / "fs") is not None
    finally:
        linux.umount(os.fsencode(tmp_path / "fs"))
    assert overlay.why_not(tmp_path) is None


def test_unknown_driver(tmp_path: Path) -> None:
    with pytest.raises(LayertoolError, match="auto, kernel or fuse"):
        merge.choose("aufs", [], tmp_path)
