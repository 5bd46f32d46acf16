"""skopeo and umoci read what we write and write what we read; digests and trees are equal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from archivetest.trees import look
from registrytest.images import make_image
from storetest import BASE, put

from layertool.store import Image, Store
from layertool.transport import load_into, open_sink, open_source, save_from

pytestmark = [pytest.mark.needs("skopeo", "umoci")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def run(*arguments: str | Path) -> str:
    done = subprocess.run(
        [str(each) for each in arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def digest(spec: str) -> str:
    return str(json.loads(run("skopeo", "inspect", spec))["Digest"])


def load(store: Store, spec: str | Path) -> Image:
    source = open_source(str(spec))
    try:
        (image,) = load_into(store, source)
    finally:
        source.close()
    return image


def settle(root: Path) -> None:
    """Give everything one old time, else the trees depend on the second they are made in."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """A layout that umoci made: a base, and a layer over it that changes and deletes."""
    directory, bundle = tmp_path / "umoci", tmp_path / "bundle"
    run("umoci", "init", "--layout", directory)
    run("umoci", "new", "--image", f"{directory}:app")
    run("umoci", "unpack", "--image", f"{directory}:app", bundle)
    root = bundle / "rootfs"
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0\n")
    (root / "etc/gone").write_text("x")
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/su").write_bytes(bytes(5000))
    (root / "usr/bin/su").chmod(0o4755)
    os.link(root / "usr/bin/su", root / "usr/bin/sudo")
    (root / "bin").symlink_to("usr/bin")
    os.mkfifo(root / "etc/pipe")
    os.chown(root / "etc/passwd", 12, 34)
    os.setxattr(root / "usr/bin/su", "user.note", b"\x00value")
    settle(root)
    run("umoci", "repack", "--refresh-bundle", "--image", f"{directory}:app", bundle)
    (root / "etc/gone").unlink()
    (root / "etc/passwd").chmod(0o600)
    (root / "new").write_text("1")
    for changed in (root, root / "etc", root / "new"):
        os.utime(changed, (1_700_000_000, 1_700_000_000))
    run("umoci", "repack", "--image", f"{directory}:app", bundle)
    return directory


@pytest.mark.needs("root")
def test_digests_survive_import_and_export(store: Store, layout: Path, tmp_path: Path) -> None:
    before = digest(f"oci:{layout}:app")
    image = load(store, f"{layout}:app")
    assert image.manifest_digest == before
    for output, spec in (
        ("out", f"oci:{tmp_path}/out:app"),
        ("out.oci.tar", f"oci-archive:{tmp_path}/out.oci.tar:app"),
    ):
        save_from(store, image, open_sink(str(tmp_path / output)))
        assert digest(spec) == before


@pytest.mark.needs("root")
def test_umoci_unpacks_the_same_tree(store: Store, layout: Path, tmp_path: Path) -> None:
    image = load(store, f"{layout}:app")
    save_from(store, image, open_sink(f"oci:{tmp_path / 'out'}:app"))
    run("umoci", "unpack", "--image", f"{tmp_path / 'out'}:app", tmp_path / "theirs")
    ours = tmp_path / "ours"
    ours.mkdir()
    for blob in image.manifest.layers:
        layer = store.blob_path(blob.digest)
        run(Path(sys.executable).with_name("layertool"), "unpack", "--apply", layer, ours)
    assert look(ours) == look(tmp_path / "theirs/rootfs")
    assert not (ours / "etc/gone").exists()


@pytest.mark.needs("root", "overlay")
def test_the_layers_in_the_store_mount_as_the_same_tree(
    store: Store, layout: Path, tmp_path: Path
) -> None:
    image = load(store, f"{layout}:app")
    run("umoci", "unpack", "--image", f"{layout}:app", tmp_path / "theirs")
    place = tmp_path / "merged"
    place.mkdir()
    lowers = ":".join(map(str, image.layer_dirs()))
    run("mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={lowers}", place)
    try:
        assert look(place) == look(tmp_path / "theirs/rootfs")
    finally:
        run("umount", place)


def test_skopeo_reads_our_docker_archive(store: Store, tmp_path: Path) -> None:
    image = put(store, make_image([BASE, {"new": b"1"}]), "app:1")
    path = tmp_path / "out.tar"
    save_from(store, image, open_sink(str(path)))
    run("skopeo", "copy", f"docker-archive:{path}", f"oci:{tmp_path / 'theirs'}:app")
    again = load(Store.open(tmp_path / "other"), f"{tmp_path / 'theirs'}:app")
    assert again.diff_ids == image.diff_ids
    with tarfile.open(path) as tar:
        (element,) = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert element["RepoTags"] == ["app:1"]


def test_we_read_skopeos_docker_archive(store: Store, tmp_path: Path) -> None:
    image = put(store, make_image([BASE, {"new": b"1"}, {"new": b"1"}]), "app:1")
    save_from(store, image, open_sink(f"oci:{tmp_path / 'layout'}:x"))
    path = tmp_path / "theirs.tar"
    run("skopeo", "copy", f"oci:{tmp_path / 'layout'}:x", f"docker-archive:{path}:app:2")
    other = Store.open(tmp_path / "other")
    found = load(other, path)
    assert found.diff_ids == image.diff_ids
    assert [name.familiar for name in found.names] == ["app:2"]
    before = digest(f"docker-archive:{path}")
    save_from(other, found, open_sink(str(tmp_path / "ours.tar")))
    assert digest(f"docker-archive:{tmp_path / 'ours.tar'}") == before


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_we_read_what_skopeo_compressed(store: Store, tmp_path: Path, compression: str) -> None:
    image = put(store, make_image([BASE]), "app:1")
    save_from(store, image, open_sink(str(tmp_path / "in.tar")))
    target = f"oci-archive:{tmp_path / 'theirs.tar'}:app"
    source = f"docker-archive:{tmp_path / 'in.tar'}"
    run("skopeo", "copy", "--dest-compress-format", compression, source, target)
    found = load(Store.open(tmp_path / "other"), tmp_path / "theirs.tar")
    assert found.diff_ids == image.diff_ids
    assert found.manifest_digest == digest(target)
