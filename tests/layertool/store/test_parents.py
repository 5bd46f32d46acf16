"""Directories without an entry take after the layers below, in every way the layers can be."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from archivetest.craft import directory, member, tar
from archivetest.trees import look
from registrytest.images import OCI_LAYER, MadeImage, descriptor, digest_of, make_image
from storetest import du, put

from layertool.archive import extract_layer
from layertool.oci.digest import Digest
from layertool.oci.names import Reference
from layertool.sandbox import merged
from layertool.store import Image, Store
from layertool.store.parents import inherit
from layertool.transport import load_into, open_source

pytestmark = pytest.mark.needs("root")


def describe(directory: Path, mode: int = 0o2750) -> Path:
    """A directory with attributes that nobody has by chance."""
    directory.mkdir(parents=True, exist_ok=True)
    os.chown(directory, 7, 8)
    directory.chmod(mode)
    os.setxattr(directory, "user.note", b"n")
    os.utime(directory, (9, 9))
    return directory


def is_described(directory: Path, mode: int = 0o2750) -> bool:
    info = directory.stat()
    return (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode), info.st_mtime) == (
        (7, 8, mode, 9)
    ) and os.getxattr(directory, "user.note") == b"n"


def is_plain(directory: Path) -> bool:
    info = directory.stat()
    return (info.st_uid, stat.S_IMODE(info.st_mode)) == (0, 0o755) and not os.listxattr(directory)


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Top, middle and base; the top has a/b, which nothing describes."""
    top, middle, base = (tmp_path / name for name in ("top", "middle", "base"))
    (top / "a/b").mkdir(parents=True)
    middle.mkdir()
    base.mkdir()
    return top, middle, base


def settle(layers: tuple[Path, Path, Path]) -> int:
    top, *below = layers
    return inherit(top, below, [b"", b"a", b"a/b"])


def test_the_nearest_layer_that_has_the_directory_counts(layers: tuple[Path, Path, Path]) -> None:
    top, middle, base = layers
    describe(base / "a/b", 0o711)
    describe(base / "a")
    describe(middle / "a", 0o000)
    describe(middle)
    settle(layers)
    assert is_described(top)
    assert is_described(top / "a", 0o000)
    assert is_described(top / "a/b", 0o711)


def test_what_no_layer_has_stays_plain(layers: tuple[Path, Path, Path]) -> None:
    assert settle(layers) == 0
    assert is_plain(layers[0] / "a/b")


def _deleted(middle: Path) -> None:
    os.mknod(middle / "a", stat.S_IFCHR, 0)


def _deleted_aufs(middle: Path) -> None:
    (middle / ".wh.a").touch()


def _replaced(middle: Path) -> None:
    (middle / "a").symlink_to("elsewhere")


def _opaque(middle: Path) -> None:
    os.setxattr(describe(middle / "a"), "trusted.overlay.opaque", b"y")


def _opaque_aufs(middle: Path) -> None:
    (describe(middle / "a") / ".wh..wh..opq").touch()


@pytest.mark.parametrize("hide", [_deleted, _deleted_aufs, _replaced, _opaque, _opaque_aufs])
def test_what_a_layer_hides_has_no_say(
    hide: Callable[[Path], None], layers: tuple[Path, Path, Path]
) -> None:
    top, middle, base = layers
    describe(base / "a/b")
    hide(middle)
    settle(layers)
    assert is_plain(top / "a/b")


def test_a_directory_new_in_its_layer_takes_after_nothing(
    layers: tuple[Path, Path, Path],
) -> None:
    top, _, base = layers
    describe(base / "a/b")
    describe(base / "a")
    os.setxattr(top / "a", "trusted.overlay.opaque", b"y")
    inherit(top, layers[1:], [b"a", b"a/b"])
    assert is_plain(top / "a/b")
    assert (top / "a").stat().st_uid == 7, "opaque says that its children are new, not that it is"
    assert os.getxattr(top / "a", "trusted.overlay.opaque") == b"y"


def test_the_marks_of_overlays_stay_behind(layers: tuple[Path, Path, Path]) -> None:
    top, middle, _ = layers
    describe(middle / "a/b")
    os.setxattr(middle / "a/b", "trusted.overlay.opaque", b"y")
    os.setxattr(middle / "a/b", "trusted.overlay.overlay.opaque", b"y")
    settle(layers)
    assert "trusted.overlay.opaque" not in os.listxattr(top / "a/b")
    assert "trusted.overlay.overlay.opaque" in os.listxattr(top / "a/b")


LAYERS = [
    tar(
        directory(b"a", 0o2750, uid=7, gid=8, mtime=9, xattrs={"user.note": b"n"}),
        directory(b"a/b", 0o700, uid=7, mtime=10),
        directory(b"gone", 0o700, uid=7, mtime=11),
        member(b"a/b/old", mtime=12),
    ),
    tar(member(b"a/b/file", data=b"x", mtime=20), member(b"a/b/.wh.old"), member(b".wh.gone")),
    tar(member(b"a/more", mtime=30), directory(b"gone", 0o711, mtime=31), member(b"gone/again")),
]


@pytest.mark.needs("umoci", "skopeo")
@pytest.mark.parametrize(
    "driver",
    [
        pytest.param("kernel", marks=pytest.mark.needs("overlay")),
        pytest.param("fuse", marks=[pytest.mark.needs("fuse"), pytest.mark.mounted]),
    ],
)
def test_umoci_sees_the_same(driver: str, tmp_path: Path) -> None:
    image = tmp_path / "image"
    _run("umoci", "init", "--layout", image)
    _run("umoci", "new", "--image", f"{image}:t")
    for number, layer in enumerate(LAYERS):
        (tmp_path / f"{number}.tar").write_bytes(layer)
        _run("umoci", "raw", "add-layer", "--image", f"{image}:t", tmp_path / f"{number}.tar")
    _run("umoci", "unpack", "--image", f"{image}:t", tmp_path / "bundle")
    theirs = look(tmp_path / "bundle/rootfs")
    store = Store.open(tmp_path / "store")
    source = open_source(f"oci:{image}:t")
    found = load_into(store, source, names=[Reference.parse("made")])[0]
    source.close()
    with merged(found.layer_dirs(), None, None, tmp_path / "at", driver) as root:
        assert look(root) == theirs
    (tmp_path / "applied").mkdir()
    fd = os.open(tmp_path / "applied", os.O_RDONLY)
    for layer in LAYERS:
        extract_layer(io.BytesIO(layer), fd, format="apply")
    os.close(fd)
    assert look(tmp_path / "applied") == theirs
    assert store.fsck() == []
    assert store.df().total == du(store.root)


def _run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, timeout=60, capture_output=True)


def _stored(store: Store) -> tuple[Image, MadeImage]:
    """An image whose upper layer does not describe the directory `a` of the lower one."""
    base = MadeImage(b"", b"", [gzip.compress(tar(directory(b"a", 0o700, uid=7)), mtime=0)])
    upper = make_image([{"a/file": b"x"}])
    document = json.loads(upper.config)
    document["rootfs"]["diff_ids"].insert(0, digest_of(gzip.decompress(base.layers[0])))
    config = json.dumps(document).encode()
    manifest = json.loads(upper.manifest)
    manifest["layers"].insert(0, descriptor(base.layers[0], OCI_LAYER))
    manifest["config"] = descriptor(config, manifest["config"]["mediaType"])
    made = MadeImage(json.dumps(manifest).encode(), config, base.layers + upper.layers)
    return put(store, made, "made"), made


def test_fsck_repairs_a_layer_to_what_it_was(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    image, _ = _stored(store)
    top = image.layer_dirs()[0]
    assert (top / "a").stat().st_uid == 7
    (top / "a/file").write_bytes(b"damaged")
    assert [problem.repaired for problem in store.fsck(repair=True)] == ["unpacked again"]
    assert (top / "a/file").read_bytes() == b"x"
    assert ((top / "a").stat().st_uid, (top / "a").stat().st_mode & 0o7777) == (7, 0o700)


def test_the_first_image_that_has_a_layer_decides(tmp_path: Path) -> None:
    """A layer in use must not change when the same layer comes again on another base."""
    store = Store.open(tmp_path / "store")
    image, _ = _stored(store)
    put(store, make_image([{"a/file": b"x"}]), "alone")
    assert (image.layer_dirs()[0] / "a").stat().st_uid == 7


def test_a_store_of_the_first_format_is_brought_up_to_date(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    put(store, make_image(), "old")
    store.close()
    database = sqlite3.connect(store.root / "images.db")
    database.execute("DROP TABLE implicit")
    database.execute("PRAGMA user_version = 1")
    database.close()
    store = Store.open(tmp_path / "store")
    image, _ = _stored(store)
    assert (image.layer_dirs()[0] / "a").stat().st_uid == 7
    assert len(store.images()) == 2


def test_a_lower_layer_that_is_lost_stops_no_repair(tmp_path: Path) -> None:
    """An image that a container needs stays, even without all its layers."""
    store = Store.open(tmp_path / "store")
    image, made = _stored(store)
    store.create_container(image, name="work", config={})
    top, base = image.layer_dirs()
    shutil.rmtree(base)
    store.blob_path(Digest(digest_of(made.layers[0]))).unlink()
    (top / "a/file").write_bytes(b"damaged")
    repaired = {problem.subject.split()[0] for problem in store.fsck(repair=True)}
    assert repaired == {"blob", "layer", "image"}
    assert (top / "a/file").read_bytes() == b"x"
