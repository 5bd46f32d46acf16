"""Manifests and configs: chosen, bounded, checked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from registrytest.fake import FakeRegistry, endless
from registrytest.images import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    MadeImage,
    descriptor,
    digest_of,
    make_image,
    make_index,
)
from werkzeug import Response

from layertool.errors import BadDigest, BadImage, LayertoolError, NotFound, Unsupported
from layertool.oci import media
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor, Index, Manifest
from layertool.oci.platform import parse_platform
from layertool.transport.registry.client import Client
from layertool.transport.registry.manifests import Repository

AMD, ARM = make_image(), make_image(architecture="arm64")


@pytest.fixture
def repository(fake: FakeRegistry, client: Client) -> Repository:
    return Repository(client, "app")


def add_index(fake: FakeRegistry, *images: MadeImage) -> bytes:
    for image in images:
        fake.add("app", "part", image)
    raw = make_index(images)
    fake.add_manifest("app", "1", raw, OCI_INDEX)
    return raw


def test_image(fake: FakeRegistry, repository: Repository) -> None:
    fake.add("app", "1", AMD)
    manifest = repository.image("1", None)
    assert manifest.raw == AMD.manifest
    assert repository.config(manifest.config) == AMD.config


def test_asks_for_all_types(fake: FakeRegistry, repository: Repository) -> None:
    fake.add("app", "1", AMD)
    repository.manifest("1")
    accepted = fake.seen[-1].headers["Accept"].split(", ")
    assert {*media.INDEXES, *media.MANIFESTS, *media.DOCKER_SCHEMA1} == set(accepted)


@pytest.mark.parametrize(("platform", "image"), [("linux/amd64", AMD), ("linux/arm64/v8", ARM)])
def test_platform(
    fake: FakeRegistry, repository: Repository, platform: str, image: MadeImage
) -> None:
    add_index(fake, AMD, ARM)
    assert repository.image("1", parse_platform(platform)).raw == image.manifest


def test_no_such_platform(fake: FakeRegistry, repository: Repository) -> None:
    add_index(fake, AMD, ARM)
    with pytest.raises(NotFound, match=r"s390x .* it has: linux/amd64, linux/arm64"):
        repository.image("1", parse_platform("linux/s390x"))


def test_an_index_without_platforms(fake: FakeRegistry, repository: Repository) -> None:
    """The configs know."""
    index = json.loads(add_index(fake, ARM, AMD))
    for entry in index["manifests"]:
        del entry["platform"]
    fake.add_manifest("app", "1", json.dumps(index).encode(), OCI_INDEX)
    assert repository.image("1", parse_platform("amd64")).raw == AMD.manifest


def test_index_in_an_index(fake: FakeRegistry, repository: Repository) -> None:
    inner = add_index(fake, AMD)
    entry = descriptor(inner, OCI_INDEX) | {"platform": {"os": "linux", "architecture": "amd64"}}
    outer = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    fake.add_manifest("app", "1", json.dumps(outer).encode(), OCI_INDEX)
    with pytest.raises(BadImage, match="an index inside an index"):
        repository.image("1", parse_platform("amd64"))


def test_index_itself(fake: FakeRegistry, repository: Repository) -> None:
    raw = add_index(fake, AMD, ARM)
    found = repository.manifest(Digest.of(raw))
    assert isinstance(found, Index)
    assert found.raw == raw


def test_by_digest(fake: FakeRegistry, repository: Repository) -> None:
    fake.add("app", "1", AMD)
    assert isinstance(repository.manifest(Digest(AMD.digest)), Manifest)


def test_another_manifest_than_the_digest(fake: FakeRegistry, repository: Repository) -> None:
    """Whatever Docker-Content-Digest says."""
    fake.manifests["app", ARM.digest] = (AMD.manifest, OCI_MANIFEST)
    fake.fail(
        "GET .*/manifests/",
        lambda r: Response(
            AMD.manifest, 200, {"Docker-Content-Digest": ARM.digest, "Content-Type": OCI_MANIFEST}
        ),
    )
    with pytest.raises(BadDigest, match=f"expected {ARM.digest}, got {AMD.digest}"):
        repository.manifest(Digest(ARM.digest))


def test_child_of_an_index_is_checked(fake: FakeRegistry, repository: Repository) -> None:
    add_index(fake, AMD)
    fake.manifests["app", AMD.digest] = (ARM.manifest, OCI_MANIFEST)
    with pytest.raises(BadDigest):
        repository.image("1", parse_platform("amd64"))


BOTH = {
    "schemaVersion": 2,
    "manifests": [],
    "layers": [],
    "config": descriptor(b"{}", OCI_CONFIG),
}


@pytest.mark.parametrize(
    ("document", "media_type", "error", "reason"),
    [
        (BOTH, OCI_MANIFEST, BadImage, "CVE-2021-41190"),
        (BOTH, OCI_INDEX, BadImage, "CVE-2021-41190"),
        (json.loads(AMD.manifest), OCI_INDEX, BadImage, "the transport says"),
        ({"schemaVersion": 1, "fsLayers": []}, "application/json", Unsupported, "schema 1"),
        ({"schemaVersion": 2}, OCI_MANIFEST, BadImage, "manifest"),
        ([], OCI_MANIFEST, BadImage, "not a JSON object"),
        ({"schemaVersion": 2, "config": None}, OCI_MANIFEST, BadImage, "manifest"),
        (
            {
                "schemaVersion": 2,
                "layers": [],
                "config": {"mediaType": OCI_CONFIG, "digest": "sha256:../../x", "size": 1},
            },
            OCI_MANIFEST,
            BadImage,
            "not a digest",
        ),
        (
            {
                "schemaVersion": 2,
                "layers": [],
                "config": {"mediaType": OCI_CONFIG, "digest": AMD.id, "size": -1},
            },
            OCI_MANIFEST,
            BadImage,
            "size",
        ),
    ],
)
def test_documents_that_are_no_image(
    fake: FakeRegistry,
    repository: Repository,
    document: Any,
    media_type: str,
    error: type[LayertoolError],
    reason: str,
) -> None:
    fake.add_manifest("app", "1", json.dumps(document).encode(), media_type)
    with pytest.raises(error, match=reason):
        repository.image("1", None)


def test_endless_manifest(fake: FakeRegistry, repository: Repository) -> None:
    fake.fail("manifests", lambda r: endless())
    with pytest.raises(LayertoolError, match="larger than 4194304 bytes"):
        repository.image("1", None)


def test_config_with_other_bytes(fake: FakeRegistry, repository: Repository) -> None:
    fake.blobs["app", AMD.id] = AMD.config[:-1] + b" "
    with pytest.raises(BadDigest):
        repository.config(Descriptor.of(AMD.config, OCI_CONFIG))


def test_config_that_is_longer(fake: FakeRegistry, repository: Repository) -> None:
    fake.blobs["app", AMD.id] = AMD.config + b" "
    with pytest.raises(LayertoolError, match=f"larger than {len(AMD.config)} bytes"):
        repository.config(Descriptor.of(AMD.config, OCI_CONFIG))


def test_config_that_promises_gigabytes(fake: FakeRegistry, repository: Repository) -> None:
    huge = Descriptor(mediaType=OCI_CONFIG, digest=Digest(digest_of(b"x")), size=1 << 30)
    with pytest.raises(BadImage, match="1073741824 bytes are more"):
        repository.config(huge)
    assert fake.seen == []
