"""gc takes what nobody needs and nothing else; fsck finds damage and mends it."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from registrytest.images import make_image
from storetest import BASE, du, put

from layertool.oci.digest import Digest
from layertool.oci.model import ImageConfig, Manifest
from layertool.oci.names import Reference
from layertool.store import Image, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def content(store: Store) -> int:
    """Bytes of content, which gc is about: not of the database's log."""
    return du(store.root) - sum(
        path.stat().st_blocks * 512 for path in store.root.glob("images.db*")
    )


def test_frees_what_dry_run_promised(store: Store) -> None:
    put(store, make_image([BASE]), "kept")
    put(store, make_image([BASE, {"own": bytes(100_000)}]), "going")
    store.untag(Reference.parse("going"))
    before = content(store)
    promised = store.gc(dry_run=True)
    assert content(store) == before
    freed = store.gc()
    assert freed == promised
    assert freed.layers == 1
    assert len(freed.images) == 1
    assert before - content(store) == freed.bytes > 0
    assert [image.names[0].familiar for image in store.images()] == ["kept:latest"]
    assert store.fsck() == []
    assert store.gc().bytes == 0


def test_a_container_keeps_its_image(store: Store) -> None:
    image = put(store, make_image([BASE]), "base")
    container = store.create_container(image, name=None, config={})
    store.untag(Reference.parse("base"))
    assert store.gc().bytes == 0
    assert image.layer_dirs()[0].is_dir()
    container.remove()
    assert store.gc().layers == 1


def test_a_lease_keeps_what_has_no_image_yet(store: Store) -> None:
    made = make_image([BASE])
    manifest, config = Manifest.decode(made.manifest), ImageConfig.decode(made.config)
    other = Store.open(store.root)
    with store.lease():
        diff_id = config.rootfs.diff_ids[0]
        store.put_layer(io.BytesIO(made.layers[0]), manifest.layers[0], diff_id)
        assert other.gc().bytes == 0
        assert store.has_layer(diff_id)
    assert other.gc().layers == 1
    assert not store.has_layer(diff_id)


def test_the_build_cache_keeps_its_layers_until_it_is_old(store: Store, tmp_path: Path) -> None:
    (tmp_path / "upper").mkdir()
    (tmp_path / "upper/file").write_bytes(b"1")
    new = store.commit_layer(tmp_path / "upper")
    store.cache_step("key", "Dockerfile:3", new.diff_id, b"record", b"inputs")
    assert store.gc().bytes == 0
    assert store.cached_step("key") == b"record"
    assert store.last_inputs("Dockerfile:3") == b"inputs"
    freed = store.gc(cache_days=0)
    assert (freed.cache, freed.layers) == (1, 1)
    assert store.cached_step("key") is None


def test_content_without_a_row_is_garbage(store: Store) -> None:
    put(store, make_image([BASE]), "base")
    stray = store.layer_dir(Digest(make_diff_id())).parent.with_name("f" * 64)
    shutil.copytree(store.layer_dir(Digest(make_diff_id())), stray / "diff")
    assert store.gc().layers == 1
    assert not stray.exists()


def make_diff_id() -> str:
    return ImageConfig.decode(make_image([BASE]).config).rootfs.diff_ids[0]


def _layer(image: Image) -> Path:
    return image.layer_dirs()[0]


def _change_content(store: Store, image: Image) -> None:
    path = _layer(image) / "etc/os-release"
    path.write_bytes(b"ID=evil\n")


def _cut(store: Store, image: Image) -> None:
    os.truncate(_layer(image) / "usr/bin/tool", 10)


def _lose_file(store: Store, image: Image) -> None:
    (_layer(image) / "usr/bin/tool").unlink()


def _add_file(store: Store, image: Image) -> None:
    (_layer(image) / "usr/bin/backdoor").write_bytes(b"#!")


def _change_mode(store: Store, image: Image) -> None:
    (_layer(image) / "usr/bin/tool").chmod(0o4755)


def _replace_by_link(store: Store, image: Image) -> None:
    path = _layer(image) / "etc/os-release"
    path.unlink()
    path.symlink_to("/etc/passwd")


def _lose_tree(store: Store, image: Image) -> None:
    shutil.rmtree(_layer(image))


def _lose_index(store: Store, image: Image) -> None:
    (_layer(image).parent / "index").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        _change_content,
        _cut,
        _lose_file,
        _add_file,
        _change_mode,
        _replace_by_link,
        _lose_tree,
        _lose_index,
    ],
    ids=lambda damage: damage.__name__.strip("_"),
)
def test_a_damaged_layer_is_unpacked_again(
    store: Store, damage: Callable[[Store, Image], None]
) -> None:
    image = put(store, make_image([BASE]), "base")
    damage(store, image)
    (problem,) = store.fsck()
    assert problem.subject == f"layer {image.diff_ids[0]}"
    assert problem.repaired == ""
    (problem,) = store.fsck(repair=True)
    assert problem.repaired == "unpacked again"
    assert store.fsck() == []
    assert (_layer(store.resolve("base")) / "etc/os-release").read_bytes() == b"ID=test\n"
    assert (_layer(image) / "usr/bin/tool").stat().st_size == 50_004
    assert not (_layer(image) / "usr/bin/backdoor").exists()


def test_a_damaged_blob_is_dropped_and_its_layer_still_runs(store: Store) -> None:
    made = make_image([BASE])
    image = put(store, made, "base")
    path = store.blob_path(image.manifest.layers[0].digest)
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    (problem,) = store.fsck()
    assert "does not match" in problem.what
    store.fsck(repair=True)
    assert store.fsck() == []
    assert store.resolve("base").layer_dirs()[0].is_dir()
    put(store, made, "base")  # importing it again brings the blob back
    assert store.has_blob(image.manifest.layers[0].digest)


@pytest.mark.parametrize("part", ["manifest", "config"])
def test_an_image_that_cannot_be_read_is_dropped(store: Store, part: str) -> None:
    made = make_image([BASE])
    image = put(store, made, "base")
    put(store, make_image([BASE, {"own": b"1"}]), "other")
    digest = image.manifest_digest if part == "manifest" else image.id
    store.blob_path(digest).unlink()
    assert store.fsck()
    store.fsck(repair=True)
    assert store.fsck() == []
    assert [image.names[0].familiar for image in store.images()] == ["other:latest"]
    put(store, made, "base")
    assert store.fsck() == []


def test_a_layer_that_cannot_be_mended_takes_its_images_along(store: Store) -> None:
    image = put(store, make_image([BASE]), "base")
    store.blob_path(image.manifest.layers[0].digest).unlink()
    shutil.rmtree(_layer(image))
    store.fsck(repair=True)
    assert store.images() == []
    assert store.fsck() == []
    put(store, make_image([BASE]), "base")
    assert store.fsck() == []
