"""Real layers against the tools that made them: GNU tar, umoci, skopeo."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from archivetest.trees import Seen, look

from layertool.cli import main

pytestmark = pytest.mark.needs("root")


def _run(*argv: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """A small root file system with one of everything."""
    root = tmp_path / "rootfs"
    (root / "usr/lib/deep/er").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "usr/lib/busybox").write_bytes(os.urandom(3_000_000))
    (root / "usr/lib/busybox").chmod(0o4755)
    os.link(root / "usr/lib/busybox", root / "usr/lib/sh")
    (root / "etc").mkdir(mode=0o700)
    (root / "etc/shadow").write_text("root::")
    os.chown(root / "etc/shadow", 0, 42)
    (root / "etc/shadow").chmod(0o640)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    os.mkfifo(root / "etc/fifo")
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / ("long" * 50)).write_text("long")
    (root / "grüße\udcff").write_text("odd")
    os.setxattr(root / "etc", "user.note", b"\0binary")
    for number in range(300):
        (root / f"usr/lib/deep/{number}").write_text(str(number) * number)
    for path in [root, *root.rglob("*")]:
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return root


def _alike(tree: dict[bytes, Seen]) -> dict[bytes, Seen]:
    return {
        path: seen._replace(same_as=b"linked" if seen.same_as else b"")
        for path, seen in tree.items()
    }


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_gnu_tar_reads_what_we_pack(rootfs: Path, tmp_path: Path, suffix: str) -> None:
    layer = tmp_path / f"layer{suffix}"
    assert main(["pack", str(rootfs), str(layer)]) == 0
    plain = layer
    if suffix == ".tar.zst":
        from backports import zstd

        plain = tmp_path / "plain.tar"
        plain.write_bytes(zstd.decompress(layer.read_bytes()))
    (tmp_path / "out").mkdir()
    _run(
        "tar",
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
        "-pxf",
        plain,
        "-C",
        tmp_path / "out",
    )
    assert _alike(look(tmp_path / "out")) == _alike(look(rootfs))


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "oldgnu"])
@pytest.mark.parametrize("squeeze", ["", "--gzip", "--bzip2", "--xz"])
def test_we_unpack_what_gnu_tar_writes(
    rootfs: Path, tmp_path: Path, form: str, squeeze: str
) -> None:
    if form != "pax":
        os.removexattr(rootfs / "etc", "user.note")
    if form == "ustar":
        (rootfs / ("long" * 50)).unlink()
    xattrs = ["--xattrs"] if form == "pax" else []
    options = [*xattrs, "--numeric-owner", f"--format={form}", *([squeeze] if squeeze else [])]
    layer = tmp_path / "layer"
    _run("tar", *options, "-C", rootfs, "-cf", layer, ".")
    assert main(["unpack", str(layer), str(tmp_path / "out")]) == 0
    assert _alike(look(tmp_path / "out", root_too=True)) == _alike(look(rootfs, root_too=True))


@pytest.mark.needs("umoci")
def test_umoci_unpacks_the_same(rootfs: Path, tmp_path: Path) -> None:
    # umoci 0.4.7 sets no mtime of the root, which has no entry.
    base, change = tmp_path / "base.tar", tmp_path / "change.tar"
    upper = tmp_path / "upper"
    (upper / "usr/lib/deep").mkdir(parents=True)
    (upper / "etc").mkdir()
    os.mknod(upper / "usr/lib/sh", stat.S_IFCHR, 0)
    os.setxattr(upper / "usr/lib/deep", "trusted.overlay.opaque", b"y")
    (upper / "usr/lib/deep/new").write_text("new")
    (upper / "etc/shadow").write_text("changed")
    assert main(["pack", str(rootfs), str(base)]) == 0
    assert main(["pack", str(upper), str(change)]) == 0
    image = f"{tmp_path}/image"
    _run("umoci", "init", "--layout", image)
    _run("umoci", "new", "--image", f"{image}:t")
    for layer in (base, change):
        _run("umoci", "raw", "add-layer", "--image", f"{image}:t", layer)
    _run("umoci", "unpack", "--image", f"{image}:t", tmp_path / "bundle")
    ours = tmp_path / "ours"
    manifest = json.loads(
        _run("skopeo", "inspect", "--raw", f"oci:{image}:t") if shutil.which("skopeo") else "{}"
    )
    for layer in manifest["layers"]:
        blob = f"{image}/blobs/{layer['digest'].replace(':', '/')}"
        assert main(["unpack", "--apply", blob, str(ours)]) == 0
    theirs = _alike(look(tmp_path / "bundle/rootfs"))
    assert not (ours / "usr/lib/sh").exists()
    assert os.listdir(ours / "usr/lib/deep") == ["new"]
    assert _alike(look(ours)) == theirs


@pytest.mark.needs("skopeo", "umoci")
def test_skopeo_accepts_our_layers(rootfs: Path, tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    assert main(["pack", str(rootfs), str(layer)]) == 0
    image = f"{tmp_path}/image"
    _run("umoci", "init", "--layout", image)
    _run("umoci", "new", "--image", f"{image}:t")
    _run("umoci", "raw", "add-layer", "--image", f"{image}:t", layer)
    _run("skopeo", "copy", f"oci:{image}:t", f"docker-archive:{tmp_path}/out.tar:a:b")
    assert (tmp_path / "out.tar").stat().st_size > 3_000_000
