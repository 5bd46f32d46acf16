"""The init layer holds what is missing, and is not noticed otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from layertool.errors import LayertoolError
from layertool.sandbox import initlayer
from layertool.sandbox.initlayer import InitLayer
from layertool.sandbox.process import Bind, Tmpfs


def tree(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.mkdir()
    return path


def build(tmp_path: Path, *lowers: Path, spec: InitLayer | None = None) -> Path:
    return initlayer.build(tmp_path / "init", spec or InitLayer(), list(lowers))


def test_empty_image_gets_mount_points(tmp_path: Path, image: Path) -> None:
    at = build(tmp_path, image)
    assert tree(at) == ["dev", "proc", "sys", "tmp"]
    assert (at / "tmp").stat().st_mode & 0o7777 == 0o1777


def test_full_image_gets_nothing(tmp_path: Path, image: Path) -> None:
    for name in ("dev", "proc", "sys", "tmp"):
        (image / name).mkdir()
    assert tree(build(tmp_path, image)) == []


def test_files_always_and_mount_points_where_missing(tmp_path: Path, image: Path) -> None:
    (image / "etc").mkdir(mode=0o750)
    (image / "etc/hostname").write_text("image\n")
    (image / "data").mkdir()
    spec = InitLayer(
        files={"/etc/hostname": b"box\n"},
        mountpoints={"/data": "directory", "/srv/new": "directory", "/etc/one": "file"},
    )
    at = build(tmp_path, image, spec=spec)
    assert tree(at) == [
        "dev", "etc", "etc/hostname", "etc/one", "proc", "srv", "srv/new", "sys", "tmp",
    ]  # fmt: skip
    assert (at / "etc/hostname").read_text() == "box\n"


def test_copied_directories_look_like_those_below(tmp_path: Path, image: Path) -> None:
    (image / "etc").mkdir()
    os.setxattr(image / "etc", "user.mark", b"1")
    (image / "etc").chmod(0o2751)
    os.utime(image / "etc", ns=(1_000, 2_000_000_003))
    os.utime(image, ns=(1_000, 5_000_000_007))
    at = build(tmp_path, image, spec=InitLayer(files={"/etc/hosts": b""}))
    info = (at / "etc").stat()
    assert (info.st_mode & 0o7777, info.st_mtime_ns) == (0o2751, 2_000_000_003)
    assert os.getxattr(at / "etc", "user.mark") == b"1"
    assert at.stat().st_mtime_ns == 5_000_000_007


def test_links_are_followed_inside_the_stack(tmp_path: Path, image: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (image / "usr/etc").mkdir(parents=True)
    (image / "etc").symlink_to("../../usr/etc")
    (image / "usr/etc/resolv.conf").symlink_to(f"../../../..{canary}/resolv.conf")
    at = build(
        tmp_path,
        image,
        spec=InitLayer(files={"/etc/hostname": b"h", "/etc/resolv.conf": b"r"}),
    )
    assert (at / "usr/etc/hostname").read_bytes() == b"h"
    assert (at / str(canary).lstrip("/") / "resolv.conf").read_bytes() == b"r"
    assert list(canary.iterdir()) == []
    assert not (at / "etc").exists()


def test_whiteouts_and_opaque_directories_count(tmp_path: Path) -> None:
    top, bottom = tmp_path / "top", tmp_path / "bottom"
    (bottom / "etc").mkdir(parents=True)
    (bottom / "data").mkdir()
    (bottom / "etc/one").touch()
    (top / "etc").mkdir(parents=True)
    os.setxattr(top / "etc", "user.overlay.opaque", b"y")
    (top / ".wh.data").touch()
    at = build(
        tmp_path,
        top,
        bottom,
        spec=InitLayer(mountpoints={"/data": "directory", "/etc/one": "file"}),
    )
    assert (at / "data").is_dir()
    assert (at / "etc/one").is_file()


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_hostile_mount_points_are_refused(
    tmp_path: Path, image: Path, name: str, kind: str
) -> None:
    (image / "etc").mkdir()
    if kind == "link":
        (image / name).symlink_to("etc")
    else:
        (image / name).touch()
    with pytest.raises(LayertoolError, match=f"/{name}") as caught:
        build(tmp_path, image)
    assert caught.value.exit_code == 125


def test_link_loop_is_refused(tmp_path: Path, image: Path) -> None:
    (image / "a").symlink_to("b")
    (image / "b").symlink_to("a")
    with pytest.raises(LayertoolError, match="symbolic links"):
        build(tmp_path, image, spec=InitLayer(mountpoints={"/a/x": "directory"}))


def test_standard(tmp_path: Path, image: Path) -> None:
    one = tmp_path / "one"
    one.touch()
    spec = InitLayer.standard(
        hostname="box", network="none", mounts=[Bind(one, "/x/file"), Tmpfs("/y")]
    )
    assert spec.mountpoints == {"/x/file": "file", "/y": "directory"}
    at = build(tmp_path, image, spec=spec)
    assert (at / "etc/hostname").read_text() == "box\n"
    assert "nameserver" not in (at / "etc/resolv.conf").read_text()
    assert "box" in (at / "etc/hosts").read_text()


def test_building_twice_replaces(tmp_path: Path, image: Path) -> None:
    build(tmp_path, image, spec=InitLayer(files={"/etc/hostname": b"old"}))
    at = build(tmp_path, image, spec=InitLayer(files={"/etc/hostname": b"new"}))
    assert (at / "etc/hostname").read_bytes() == b"new"
