"""Documents of others: bytes kept, unknown fields kept, ambiguity refused."""

import json
from typing import Any

import pytest

from layertool.errors import BadImage, Unsupported
from layertool.oci import media
from layertool.oci.digest import Digest
from layertool.oci.model import (
    MAX_CONFIG,
    MAX_MANIFEST,
    Descriptor,
    History,
    ImageConfig,
    Index,
    Manifest,
    parse_manifest,
)
from layertool.oci.platform import Platform

ZERO = "sha256:" + "0" * 64
LAYER = {"mediaType": media.OCI_LAYER_GZIP, "digest": ZERO, "size": 1}
CONFIG = {"mediaType": media.OCI_CONFIG, "digest": ZERO, "size": 2}
MANIFEST = {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER]}
INDEX = {"schemaVersion": 2, "manifests": [LAYER]}


def _raw(document: Any) -> bytes:
    return json.dumps(document, indent=3).encode()


def test_raw_bytes_are_kept() -> None:
    raw = _raw({**MANIFEST, "x-unknown": {"a": 1}})
    manifest = parse_manifest(raw, media.OCI_MANIFEST)
    assert isinstance(manifest, Manifest)
    assert manifest.raw == raw
    assert manifest.digest == Digest.of(raw)
    assert manifest.layers[0].digest == ZERO


def test_json_cannot_set_the_raw_bytes() -> None:
    raw = _raw({**MANIFEST, "raw": "forged", "": "forged"})
    assert parse_manifest(raw, None).raw == raw


@pytest.mark.parametrize(
    ("document", "content_type", "kind"),
    [
        (MANIFEST, None, Manifest),
        (MANIFEST, media.DOCKER_MANIFEST, Manifest),
        (MANIFEST, "application/octet-stream", Manifest),
        (MANIFEST, media.OCI_MANIFEST + "; charset=utf-8", Manifest),
        ({**MANIFEST, "mediaType": media.OCI_MANIFEST}, media.OCI_MANIFEST, Manifest),
        ({**MANIFEST, "annotations": None, "subject": None}, None, Manifest),
        (INDEX, media.OCI_INDEX, Index),
        (INDEX, media.DOCKER_INDEX, Index),
        (INDEX, None, Index),
    ],
)
def test_kinds(document: Any, content_type: str | None, kind: type) -> None:
    assert isinstance(parse_manifest(_raw(document), content_type), kind)


@pytest.mark.parametrize(
    ("document", "content_type", "error", "why"),
    [
        ({**MANIFEST, **INDEX}, None, BadImage, "at once"),
        ({**MANIFEST, "manifests": []}, media.OCI_MANIFEST, BadImage, "at once"),
        ({**INDEX, "Layers": []}, media.OCI_INDEX, BadImage, "at once"),
        ({**INDEX, "config": CONFIG}, None, BadImage, "at once"),
        (INDEX, media.OCI_MANIFEST, BadImage, "media type"),
        (MANIFEST, media.OCI_INDEX, BadImage, "media type"),
        ({**MANIFEST, "mediaType": media.OCI_MANIFEST}, media.DOCKER_MANIFEST, BadImage, "says"),
        ({**MANIFEST, "mediaType": media.OCI_INDEX}, None, BadImage, "media type"),
        ({**MANIFEST, "mediaType": 7}, None, BadImage, "mediaType"),
        ({"schemaVersion": 1, "fsLayers": []}, None, Unsupported, "schema 1"),
        (MANIFEST, "application/vnd.docker.distribution.manifest.v1+prettyjws", Unsupported, "1"),
        ({**MANIFEST, "schemaVersion": 3}, None, BadImage, "schemaVersion"),
        ({"schemaVersion": 2, "layers": []}, None, BadImage, "config"),
        ({**MANIFEST, "layers": [{**LAYER, "size": -1}]}, None, BadImage, "size"),
        ({**MANIFEST, "layers": [{**LAYER, "size": 1.5}]}, None, BadImage, "size"),
        ({**MANIFEST, "layers": [{**LAYER, "digest": "sha256:../x"}]}, None, BadImage, "digest"),
        ({**MANIFEST, "layers": {}}, None, BadImage, "layers"),
        ([], None, BadImage, "object"),
    ],
)
def test_refused(document: Any, content_type: str | None, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why) as caught:
        parse_manifest(_raw(document), content_type)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000, b"null", b'"x"'])
def test_no_json(raw: bytes) -> None:
    with pytest.raises(BadImage):
        parse_manifest(raw, None)
    with pytest.raises(BadImage):
        ImageConfig.decode(raw)


def test_sizes_are_bounded() -> None:
    with pytest.raises(BadImage, match="limit"):
        parse_manifest(b" " * (MAX_MANIFEST + 1), None)
    with pytest.raises(BadImage, match="limit"):
        ImageConfig.decode(b" " * (MAX_CONFIG + 1))


def test_build_reads_back() -> None:
    config = Descriptor.of(b"{}", media.OCI_CONFIG)
    layers = [Descriptor.of(b"x", media.OCI_LAYER), Descriptor.of(b"y", media.OCI_LAYER_ZSTD)]
    manifest = Manifest.build(config, layers, annotations={"a": "b"})
    assert (manifest.config, manifest.layers) == (config, layers)
    assert manifest.media_type == media.OCI_MANIFEST
    index = Index.build([Descriptor.of(manifest.raw, manifest.media_type)])
    assert index.manifests[0].digest == manifest.digest


def test_a_manifest_without_media_type_is_dockers_when_its_config_is() -> None:
    docker = {**MANIFEST, "config": {**CONFIG, "mediaType": media.DOCKER_CONFIG}}
    assert Manifest.decode(_raw(docker)).media_type == media.DOCKER_MANIFEST
    assert Manifest.decode(_raw(MANIFEST)).media_type == media.OCI_MANIFEST


BASE = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2020-01-01T00:00:00Z",
    "config": {"Env": ["A=1"], "Cmd": None, "Healthcheck": {"Test": ["NONE"]}, "x": 1},
    "rootfs": {"type": "layers", "diff_ids": [ZERO]},
    "history": [{"created_by": "base", "x-kept": True}],
    "container_config": {"Hostname": "old"},
    "x-unknown": [1, {"deep": None}],
    "docker_version": "1",
}


def test_derive_keeps_what_it_does_not_know() -> None:
    base = ImageConfig.decode(_raw(BASE))
    new = Digest.of(b"new")
    derived = base.derive(
        [History(created="2021-01-01T00:00:00Z", created_by="RUN x")],
        diff_ids=[new],
        config={"Cmd": ["sh"], "Env": None},
        author="me",
    )
    document = json.loads(derived.raw)
    assert document["x-unknown"] == BASE["x-unknown"]
    assert document["history"][0] == BASE["history"][0]  # type: ignore[index]
    assert document["config"] == {"Cmd": ["sh"], "Healthcheck": {"Test": ["NONE"]}, "x": 1}
    assert "container_config" not in document
    assert derived.rootfs.diff_ids == [ZERO, new]
    assert derived.created == "2021-01-01T00:00:00Z"
    assert derived.history_matches


@pytest.mark.parametrize(
    ("history", "matches"),
    [
        ([{"created_by": "a"}], True),
        ([{"created_by": "a"}, {"created_by": "b", "empty_layer": True}], True),
        ([], False),
        ([{}, {}], False),
    ],
)
def test_history_matches(history: list[Any], matches: bool) -> None:
    assert ImageConfig.decode(_raw({**BASE, "history": history})).history_matches is matches


@pytest.mark.parametrize(
    "broken",
    [{"rootfs": {"diff_ids": ["x"]}}, {"history": {}}, {"config": []}, {"rootfs": []}],
)
def test_broken_configs(broken: Any) -> None:
    with pytest.raises(BadImage):
        ImageConfig.decode(_raw({**BASE, **broken}))


def test_nulls_mean_absent() -> None:
    config = ImageConfig.decode(b'{"history": null, "config": null, "rootfs": null}')
    assert (config.history, config.config, config.rootfs.diff_ids) == ([], {}, [])


def test_scratch() -> None:
    config = ImageConfig.scratch(Platform(os="linux", architecture="arm", variant="v7"))
    assert str(config.platform) == "linux/arm/v7"
    assert config.rootfs.diff_ids == []
