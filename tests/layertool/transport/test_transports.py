"""Archives, layouts and root file systems in and out, every byte kept; hostile ones refused."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registrytest.images import MadeImage, digest_of, layer_tar, make_image, make_index
from storetest import BASE, put

from layertool.errors import BadArchive, BadDigest, BadImage, LayertoolError, NotFound, UsageError
from layertool.oci.names import Reference
from layertool.oci.platform import parse_platform
from layertool.store import Image, Store
from layertool.transport import load_into, open_sink, open_source, save_from
from layertool.transport.archive import keeps_digest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def load(store: Store, spec: str | Path, *names: str, platform: str | None = None) -> list[Image]:
    wanted = parse_platform(platform) if platform else None
    source = open_source(str(spec), wanted)
    try:
        return load_into(
            store, source, names=[Reference.parse(name) for name in names], platform=wanted
        )
    finally:
        source.close()


def names(image: Image) -> list[str]:
    return [name.familiar for name in image.names]


Member = tuple[str, bytes] | tarfile.TarInfo


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def write_tar(path: Path, *members: Member) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def docker_list(made: MadeImage, layers: list[str], **changes: Any) -> bytes:
    element = {"Config": "config.json", "RepoTags": ["app:1"], "Layers": layers}
    return json.dumps([element | changes]).encode()


def layout_files(made: MadeImage, **annotations: str) -> dict[str, bytes]:
    entry = {"mediaType": made.media_type, "digest": made.digest, "size": len(made.manifest)}
    if annotations:
        entry["annotations"] = annotations  # type: ignore[assignment]
    index = {"schemaVersion": 2, "manifests": [entry]}
    blobs = {**made.blobs, made.digest: made.manifest}
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(index).encode(),
        **{f"blobs/sha256/{digest[7:]}": blob for digest, blob in blobs.items()},
    }


def write_layout(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("output", ["out.oci.tar", "dir", "dir:tag"])
def test_oci_formats_keep_every_byte(store: Store, tmp_path: Path, output: str) -> None:
    made = make_image([BASE, {"new": b"1"}])
    image = put(store, made, "app:1")
    save_from(store, image, open_sink(str(tmp_path / output)))
    other = Store.open(tmp_path / "other")
    (found,) = load(other, tmp_path / output)
    assert found.manifest.raw == made.manifest
    assert found.config.raw == made.config
    for blob in made.layers:
        assert other.blob_path(found.manifest.layers[0].digest).exists()
        assert other.open_blob(next(d.digest for d in found.manifest.layers
                                    if d.digest == digest_of(blob))).read() == blob  # fmt: skip
    assert names(found) == ["app:1"]


def test_docker_archive_keeps_the_id_and_says_what_it_cannot(store: Store, tmp_path: Path) -> None:
    made = make_image([BASE, {"new": b"1"}])
    image = put(store, made, "app:1")
    assert not keeps_digest(image.manifest, image.config)
    save_from(store, image, open_sink(str(tmp_path / "out.tar")))
    other = Store.open(tmp_path / "other")
    (found,) = load(other, tmp_path / "out.tar")
    assert (found.id, names(found)) == (image.id, ["app:1"])
    assert keeps_digest(found.manifest, found.config)
    save_from(other, found, open_sink(str(tmp_path / "again.tar")))
    (again,) = load(Store.open(tmp_path / "third"), tmp_path / "again.tar")
    assert again.manifest_digest == found.manifest_digest


def test_a_layout_takes_several_images_and_replaces_tags(store: Store, tmp_path: Path) -> None:
    one, two = (put(store, make_image([BASE], Cmd=[text]), f"app:{text}") for text in "ab")
    for image, target in ((one, "dir:x"), (two, "dir:y"), (two, "dir:x")):
        save_from(store, image, open_sink(str(tmp_path / target)))
    assert [image.id for image in load(store, f"{tmp_path / 'dir'}:x")] == [two.id]
    assert len(load(store, tmp_path / "dir")) == 2
    with pytest.raises(NotFound, match="no image 'z'; it has: x, y"):
        load(store, f"{tmp_path / 'dir'}:z")
    with pytest.raises(UsageError, match="2 images"):
        load(store, tmp_path / "dir", "one-name")


def _plain(tar: bytes, _: MadeImage) -> list[Member]:
    return [("a/layer.tar", tar)]


def _gzip_named_tar(_: bytes, made: MadeImage) -> list[Member]:
    return [("a/layer.tar", made.layers[0])]


def _symlink(tar: bytes, _: MadeImage) -> list[Member]:
    return [link("a/layer.tar", "../b/layer.tar"), ("b/layer.tar", tar)]


def _hardlink(tar: bytes, _: MadeImage) -> list[Member]:
    return [("b/layer.tar", tar), link("a/layer.tar", "b/layer.tar", tarfile.LNKTYPE)]


def _symlink_above_the_top(tar: bytes, _: MadeImage) -> list[Member]:
    return [link("a/layer.tar", "../../../../b/layer.tar"), ("b/layer.tar", tar)]


@pytest.mark.parametrize(
    "shape",
    [_plain, _gzip_named_tar, _symlink, _hardlink, _symlink_above_the_top],
    ids=lambda shape: shape.__name__.strip("_"),
)
@pytest.mark.parametrize("compressed", [False, True])
def test_docker_archives_of_all_shapes(
    store: Store,
    tmp_path: Path,
    shape: Callable[[bytes, MadeImage], list[Member]],
    compressed: bool,
) -> None:
    made = make_image([BASE])
    members = shape(layer_tar(BASE), made)
    path = write_tar(
        tmp_path / "in.tar",
        *members,
        ("config.json", made.config),
        ("manifest.json", docker_list(made, ["a/layer.tar"])),
    )
    if compressed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    (image,) = load(store, path)
    assert (image.id, names(image)) == (made.id, ["app:1"])
    assert (image.layer_dirs()[0] / "etc/os-release").read_bytes() == b"ID=test\n"
    assert store.fsck() == []


def test_a_hybrid_archive_is_a_layout_with_dockers_names(store: Store, tmp_path: Path) -> None:
    made = make_image([BASE])
    config = f"blobs/sha256/{made.id[7:]}"
    layers = [f"blobs/sha256/{digest_of(blob)[7:]}" for blob in made.layers]
    path = write_tar(
        tmp_path / "in.tar",
        *layout_files(made).items(),
        ("manifest.json", docker_list(made, layers, Config=config, RepoTags=["other:2"])),
    )
    (image,) = load(store, path)
    assert image.manifest.raw == made.manifest
    assert names(image) == ["other:2"]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress])
def test_a_root_file_system_becomes_an_image(
    store: Store, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    tar = layer_tar({**BASE, "manifest.json": b"[1]", "index.json": b"{}"})
    path = tmp_path / "My_Base-12.tar.gz"
    path.write_bytes(compress(tar))
    (image,) = load(store, path)
    assert names(image) == ["my-base-12:latest"]
    assert image.diff_ids == [digest_of(tar)]
    assert (image.layer_dirs()[0] / "manifest.json").read_bytes() == b"[1]"
    assert image.config.history[0].created_by == "layertool import My_Base-12.tar.gz"
    assert "debian:latest" in names(load(store, path, "debian")[0])


def test_a_root_file_system_is_reproducible(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    path = write_tar(tmp_path / "base.tar", ("etc/hostname", b"x"))
    (one,) = load(store, path)
    os.utime(path, (1, 1))
    (two,) = load(Store.open(tmp_path / "other"), path)
    assert one.manifest_digest == two.manifest_digest
    assert one.created == "2023-11-14T22:13:20Z"


def test_of_an_index_the_platform_is_chosen(store: Store, tmp_path: Path) -> None:
    amd, arm = make_image([BASE]), make_image([{"arm": b"1"}], architecture="arm64")
    index = make_index([amd, arm])
    files = {**layout_files(amd), **layout_files(arm)}
    top = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "digest": digest_of(index),
                "size": len(index),
                "annotations": {"org.opencontainers.image.ref.name": "v1"},
            }
        ],
    }
    files["index.json"] = json.dumps(top).encode()
    files[f"blobs/sha256/{digest_of(index)[7:]}"] = index
    directory = write_layout(tmp_path / "multi", files)
    assert load(store, directory, platform="linux/arm64")[0].id == arm.id
    assert load(store, directory, platform="linux/amd64")[0].id == amd.id
    with pytest.raises(NotFound, match=r"s390x.*amd64.*arm64"):
        load(store, directory, platform="linux/s390x")


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, []),
        ({"org.opencontainers.image.ref.name": "12"}, ["lay-out:12"]),
        ({"org.opencontainers.image.ref.name": "app:1"}, ["app:1"]),
        ({"org.opencontainers.image.ref.name": "quay.io/a/b:1"}, ["quay.io/a/b:1"]),
        ({"org.opencontainers.image.ref.name": "Not A Tag"}, []),
        (
            {
                "org.opencontainers.image.ref.name": "1",
                "io.containerd.image.name": "docker.io/library/web:1",
            },
            ["web:1"],
        ),
    ],
)
def test_names_of_a_layout(
    store: Store, tmp_path: Path, annotations: dict[str, str], expected: list[str]
) -> None:
    files = layout_files(make_image([BASE]), **annotations)
    (image,) = load(store, write_layout(tmp_path / "lay_out", files))
    assert names(image) == expected


Files = dict[str, bytes]


def _other_blob(files: Files, made: MadeImage) -> None:
    files[f"blobs/sha256/{digest_of(made.layers[0])[7:]}"] = gzip.compress(layer_tar({"x": b"1"}))


def _other_config(files: Files, made: MadeImage) -> None:
    files[f"blobs/sha256/{made.id[7:]}"] = made.config + b" "


def _other_manifest(files: Files, made: MadeImage) -> None:
    files[f"blobs/sha256/{made.digest[7:]}"] = made.manifest + b" "


def _no_blob(files: Files, made: MadeImage) -> None:
    del files[f"blobs/sha256/{digest_of(made.layers[0])[7:]}"]


def _path_as_digest(files: Files, made: MadeImage) -> None:
    text = files["index.json"].decode()
    files["index.json"] = text.replace(made.digest, "sha256:../../../etc/passwd").encode()


def _endless_index(files: Files, made: MadeImage) -> None:
    files["index.json"] = b'{"manifests": [' + b" " * (5 << 20)


def _both_in_one(files: Files, made: MadeImage) -> None:
    document = json.loads(made.manifest) | {"manifests": []}
    raw = json.dumps(document).encode()
    text = files["index.json"].decode().replace(made.digest, digest_of(raw))
    files["index.json"] = text.replace(str(len(made.manifest)), str(len(raw))).encode()
    files[f"blobs/sha256/{digest_of(raw)[7:]}"] = raw


def _no_json(files: Files, made: MadeImage) -> None:
    files["index.json"] = b"\x00"


@pytest.mark.parametrize("as_tar", [False, True])
@pytest.mark.parametrize(
    "damage",
    [
        _other_blob,
        _other_config,
        _other_manifest,
        _no_blob,
        _path_as_digest,
        _endless_index,
        _both_in_one,
        _no_json,
    ],
    ids=lambda damage: damage.__name__.strip("_"),
)
def test_bad_layouts_are_refused_and_leave_nothing(
    store: Store, tmp_path: Path, damage: Callable[[Files, MadeImage], None], as_tar: bool
) -> None:
    made = make_image([BASE])
    files = layout_files(made)
    damage(files, made)
    path = tmp_path / "in"
    if as_tar:
        write_tar(path, *files.items())
    else:
        write_layout(path, files)
    with pytest.raises(LayertoolError):
        load(store, path)
    assert store.images() == []
    assert store.gc(dry_run=True).images == ()
    assert store.fsck() == []


@pytest.mark.parametrize(
    ("changes", "members", "error"),
    [
        ({"Config": "../../etc/passwd"}, [], NotFound),
        ({"Config": "/etc/passwd"}, [], NotFound),
        ({"Layers": []}, [], BadImage),
        ({"Layers": ["missing.tar"]}, [], NotFound),
        ({"Layers": ["loop"]}, [link("loop", "pool"), link("pool", "loop")], BadArchive),
        ({"Layers": ["host"]}, [link("host", "/etc/passwd")], NotFound),
        ({"Layers": ["wrong.tar"]}, [("wrong.tar", layer_tar({"x": b"1"}))], BadDigest),
    ],
)
def test_bad_docker_archives_are_refused(
    store: Store,
    tmp_path: Path,
    changes: dict[str, Any],
    members: list[Member],
    error: type[Exception],
) -> None:
    made = make_image([BASE])
    path = write_tar(
        tmp_path / "in.tar",
        ("layer.tar", layer_tar(BASE)),
        ("config.json", made.config),
        *members,
        ("manifest.json", docker_list(made, ["layer.tar"], **changes)),
    )
    with pytest.raises((error, BadImage) if error is BadDigest else error):
        load(store, path)
    assert store.images() == []


@pytest.mark.parametrize("cut", [100, 512, 700, 3000])
def test_truncated_archives_are_refused(store: Store, tmp_path: Path, cut: int) -> None:
    path = write_tar(tmp_path / "in.oci.tar", *layout_files(make_image([BASE])).items())
    raw = path.read_bytes().rstrip(b"\0")
    path.write_bytes(raw[:-cut])
    with pytest.raises(LayertoolError):
        load(store, f"oci-archive:{path}")
    assert store.images() == []


def test_an_interrupted_export_leaves_the_old_file(store: Store, tmp_path: Path) -> None:
    image = put(store, make_image([BASE]), "app")
    store.blob_path(image.manifest.layers[0].digest).unlink()
    for output in ("old.tar", "old.oci.tar"):
        (tmp_path / output).write_bytes(b"old")
        with pytest.raises(NotFound, match="blob"):
            save_from(store, image, open_sink(str(tmp_path / output)))
        assert (tmp_path / output).read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.oci.tar", "old.tar", "store"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [("missing.tar", "No such file"), ("missing:tag", "No such file"), ("empty", "OCI layout")],
)
def test_what_is_no_source_is_said(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayertoolError, match=message):
        open_source(str(tmp_path / spec))
