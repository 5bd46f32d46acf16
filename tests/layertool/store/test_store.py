"""What goes into the store, what is refused, and how it is found again."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from registrytest.images import MadeImage, digest_of, make_image
from storetest import BASE, du, put

from layertool.archive import Limits
from layertool.errors import (
    Ambiguous,
    BadArchive,
    BadDigest,
    BadImage,
    Conflict,
    LayertoolError,
    NotFound,
)
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor, ImageConfig, Manifest
from layertool.oci.names import Reference
from layertool.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def first_layer(made: MadeImage) -> tuple[Descriptor, Digest]:
    manifest, config = Manifest.decode(made.manifest), ImageConfig.decode(made.config)
    return manifest.layers[0], config.rootfs.diff_ids[0]


def is_empty(store: Store) -> bool:
    """No content anywhere, whether it has a row or not."""
    places = [store.root / "blobs/sha256", store.root / "layers/sha256", store.root / "tmp"]
    return not any(any(place.iterdir()) for place in places)


def test_keeps_every_byte_of_an_image(store: Store) -> None:
    made = make_image([BASE, {"new": b"1"}], Cmd=["tool"])
    image = put(store, made, "app:1")
    assert image.id == made.id
    assert image.manifest_digest == made.digest
    assert image.manifest.raw == made.manifest
    assert image.config.raw == made.config
    for blob in made.layers:
        assert store.blob_path(Digest(digest_of(blob))).read_bytes() == blob
    top, bottom = image.layer_dirs()
    assert (top / "new").read_bytes() == b"1"
    assert (bottom / "etc/os-release").read_bytes() == b"ID=test\n"
    assert store.fsck() == []


def test_a_common_base_is_on_disk_once(store: Store) -> None:
    base = {f"usr/lib/file{number}": bytes([number]) * 40_000 for number in range(50)}
    put(store, make_image([base]), "base")
    before = du(store.root / "layers")
    put(store, make_image([base, {"own": b"x" * 5000}]), "derived")
    assert before > 2_000_000
    assert du(store.root / "layers") - before < 40_000
    sizes = {
        image.names[0].familiar_name: store.sizes()[image.manifest_digest]
        for image in store.images()
    }
    assert sizes["base"].unique == 0
    assert sizes["derived"].shared == sizes["base"].total
    assert sizes["derived"].unique + sizes["derived"].shared == sizes["derived"].total


def test_sizes_are_what_du_says(store: Store) -> None:
    for number in range(3):
        put(store, make_image([BASE, {"own": bytes(number * 10_000)}]), f"image{number}")
    sizes = store.sizes().values()
    shared_once = next(iter(sizes)).shared
    own_directories = 2 * (store.root / "layers").stat().st_blocks * 512
    in_layers = sum(size.unique for size in sizes) + shared_once + own_directories
    assert in_layers == du(store.root / "layers")
    assert store.df().total == du(store.root)


@pytest.mark.parametrize("change", ["digest", "diff_id", "longer", "shorter", "truncated", "noise"])
def test_nothing_of_a_wrong_layer_stays(store: Store, change: str) -> None:
    made = make_image([BASE])
    descriptor, diff_id = first_layer(made)
    blob, size, digest = made.layers[0], descriptor.size, descriptor.digest
    if change == "digest":
        digest = Digest.of(b"something else")
    elif change == "diff_id":
        diff_id = Digest.of(b"something else")
    elif change == "longer":
        blob += b"\0"
    elif change == "shorter":
        size += 1
    elif change == "truncated":
        blob = blob[:-100]
        size, digest = len(blob), Digest.of(blob)
    elif change == "noise":
        blob = b"no tar at all" * 100
        size, digest = len(blob), Digest.of(blob)
    wrong = Descriptor(mediaType=descriptor.mediaType, digest=digest, size=size)
    with pytest.raises(LayertoolError):
        store.put_layer(io.BytesIO(blob), wrong, diff_id)
    assert is_empty(store)
    assert not store.has_layer(diff_id)
    put(store, made, "good")  # the operation can simply be repeated
    assert store.fsck() == []


def test_a_manifest_cannot_pass_off_one_layer_as_another(store: Store) -> None:
    good, evil = make_image([{"good": b"1"}]), make_image([{"evil": b"1"}])
    put(store, good, "good")
    put(store, evil, "evil")
    document = json.loads(good.manifest)
    document["layers"] = json.loads(evil.manifest)["layers"]
    with pytest.raises(BadDigest, match="diffID"):
        store.put_image(json.dumps(document).encode(), good.config)
    descriptor = first_layer(evil)[0]
    with pytest.raises(BadDigest, match="diffID"):
        store.put_layer(io.BytesIO(evil.layers[0]), descriptor, first_layer(good)[1])
    assert len(store.images()) == 2


def test_another_compression_of_a_known_layer_is_verified_and_kept(store: Store) -> None:
    import gzip

    made = make_image([BASE])
    put(store, made, "one")
    blob = gzip.compress(gzip.decompress(made.layers[0]), 9, mtime=1)
    other = Descriptor.of(blob, first_layer(made)[0].mediaType)
    store.put_blob(blob, other)
    document = json.loads(made.manifest)
    document["layers"] = [other.to_json()]
    image = store.put_image(
        json.dumps(document).encode(), made.config, names=[Reference.parse("two")]
    )
    assert image.id == made.id
    assert image.manifest_digest != made.digest
    assert len(list((store.root / "layers/sha256").iterdir())) == 1


def test_refuses_images_whose_parts_do_not_fit(store: Store) -> None:
    made = make_image([BASE])
    with pytest.raises(NotFound, match="layer sha256:"):
        store.put_image(made.manifest, made.config)
    put(store, made)
    with pytest.raises(BadImage, match="config"):
        store.put_image(made.manifest, make_image([BASE], Cmd=["x"]).config)
    document = json.loads(made.manifest) | {"layers": []}
    with pytest.raises(BadImage, match="0 layers, but 1 diffIDs"):
        store.put_image(json.dumps(document).encode(), made.config)


def test_finds_images_as_docker_does(store: Store) -> None:
    made = make_image([BASE])
    image = put(store, made, "debian", "registry.example/base:1")
    hexdigest = made.id.partition(":")[2]
    for text in (
        "debian",
        "debian:latest",
        "docker.io/library/debian",
        "registry.example/base:1",
        made.id,
        hexdigest,
        hexdigest[:12],
        hexdigest[:4],
        made.digest,
        f"debian@{made.digest}",
    ):
        assert store.resolve(text).id == image.id, text
    for text in ("debian:12", "nothing", "registry.example/base", "f" * 64):
        with pytest.raises(NotFound, match="no such image"):
            store.resolve(text)


def test_an_ambiguous_id_is_no_guess(store: Store) -> None:
    ids = set()
    for number in range(20):  # 17 ids share a first digit at the latest
        ids.add(put(store, make_image([BASE], Cmd=[str(number)]), f"image{number}").id.hex[0])
        if len(ids) <= number:
            break
    firsts = [image.id.hex[0] for image in store.images()]
    double = next(first for first in firsts if firsts.count(first) > 1)
    with pytest.raises(Ambiguous, match="fits 2 images"):
        store.resolve(double)


def test_a_name_moves_to_the_newer_image(store: Store) -> None:
    old, new = make_image([BASE], Cmd=["old"]), make_image([BASE], Cmd=["new"])
    put(store, old, "app")
    put(store, new, "app")
    assert store.resolve("app").id == new.id
    assert store.resolve(old.id).names == ()


def test_removes_names_first_then_the_image(store: Store) -> None:
    made = make_image([BASE])
    put(store, made, "one", "two")
    with pytest.raises(Conflict, match="several names"):
        store.remove_image(made.id)
    assert store.remove_image("one") == ["Untagged: one:latest"]
    assert store.remove_image("two") == ["Untagged: two:latest", f"Deleted: {made.id}"]
    assert store.images() == []
    assert is_empty(store)


def test_removing_one_image_spares_what_others_have(store: Store) -> None:
    put(store, make_image([BASE]), "base")
    put(store, make_image([BASE, {"own": b"1"}]), "derived")
    untagged = put(store, make_image([{"other": b"1"}]))
    store.remove_image("derived")
    assert [image.id for image in store.images()] == [untagged.id, store.resolve("base").id]
    assert len(list((store.root / "layers/sha256").iterdir())) == 2
    assert store.fsck() == []


def test_an_image_with_a_container_stays(store: Store) -> None:
    image = put(store, make_image([BASE]), "base")
    container = store.create_container(image, name="web", config={})
    with pytest.raises(Conflict, match="container web"):
        store.remove_image("base")
    container.remove()
    store.remove_image("base")


def test_commits_an_upper(store: Store, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "etc").mkdir(parents=True)
    (upper / "etc/hostname").write_text("web\n")
    new = store.commit_layer(upper, epoch=1_700_000_000)
    assert (store.layer_dir(new.diff_id) / "etc/hostname").read_text() == "web\n"
    assert new.descriptor.digest == Digest.of(store.open_blob(new.descriptor.digest).read())
    assert [entry.path for entry in store.layer_index(new.diff_id)] == [b"etc", b"etc/hostname"]
    again = store.commit_layer(upper, epoch=1_700_000_000)
    assert again == new


def test_limits_are_for_the_archives_of_others(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A big upper of the user's own is no attack."""
    monkeypatch.setattr(Limits.__init__, "__defaults__", (1, 1, 1, 1, 1, 1))
    made = make_image([BASE])
    with pytest.raises(BadArchive, match="the limit"):
        put(store, made)
    (tmp_path / "upper/etc").mkdir(parents=True)
    (tmp_path / "upper/etc/hostname").write_text("web\n" * 1000)
    assert store.commit_layer(tmp_path / "upper").bytes == 4000
