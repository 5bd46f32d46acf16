"""Copies between registries, archives and layouts, without the store."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from registrytest.debian import RunningRegistry
from registrytest.fake import FakeRegistry, cut
from registrytest.images import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    descriptor,
    digest_of,
    make_image,
    make_index,
    noise,
)
from registrytest.options import quick_options

from layertool.errors import BadDigest, BadImage, LayertoolError, UsageError
from layertool.oci.digest import Digest
from layertool.oci.names import Reference
from layertool.oci.platform import parse_platform
from layertool.transport import open_sink, open_source
from layertool.transport.copying import copy_images
from layertool.transport.registry.remote import RegistrySink, RegistrySource

IMAGE = make_image([{"base": noise(400_000, 3)}, {"app": b"app\n"}], Cmd=["/app"])


def source_of(fake: FakeRegistry | RunningRegistry, rest: str = "app:1") -> RegistrySource:
    return RegistrySource(Reference.parse(f"{fake.domain}/{rest}"), options=quick_options())


def sink_of(fake: FakeRegistry | RunningRegistry, rest: str = "copy:1") -> RegistrySink:
    return RegistrySink(Reference.parse(f"{fake.domain}/{rest}"), options=quick_options())


@pytest.fixture(autouse=True)
def content(fake: FakeRegistry) -> None:
    fake.add("app", "1", IMAGE)


def complete(fake: FakeRegistry, repository: str = "copy", tag: str = "1") -> bool:
    blobs = {digest: fake.blobs.get((repository, digest)) for digest in IMAGE.blobs}
    return blobs == IMAGE.blobs and fake.manifests[repository, tag] == (
        IMAGE.manifest,
        OCI_MANIFEST,
    )


def test_registry_to_registry(fake: FakeRegistry, other_host: FakeRegistry) -> None:
    assert copy_images(source_of(fake), sink_of(other_host), one=True) == [IMAGE.digest]
    assert complete(other_host)


def test_what_is_there_is_not_downloaded(fake: FakeRegistry, other_host: FakeRegistry) -> None:
    for digest, blob in IMAGE.blobs.items():
        other_host.blobs["copy", digest] = blob
    copy_images(source_of(fake), sink_of(other_host))
    assert fake.requests("GET .*/blobs/") == []
    assert complete(other_host)


@pytest.mark.parametrize("form", ["oci:{}/layout:1", "oci-archive:{}/image.tar:1"])
def test_there_and_back(
    fake: FakeRegistry, other_host: FakeRegistry, tmp_path: Path, form: str
) -> None:
    place = form.format(tmp_path)
    assert copy_images(source_of(fake), open_sink(place)) == [IMAGE.digest]
    assert copy_images(open_source(place), sink_of(other_host), one=True) == [IMAGE.digest]
    assert complete(other_host)


def test_docker_archive_keeps_the_id(
    fake: FakeRegistry, other_host: FakeRegistry, tmp_path: Path
) -> None:
    said: list[str] = []

    class Listening:
        def start(self, name: str, size: int) -> None: ...
        def at(self, name: str, position: int) -> None: ...
        def done(self, name: str, outcome: str) -> None: ...
        def note(self, message: str) -> None:
            said.append(message)

    place = f"docker-archive:{tmp_path}/image.tar"
    copy_images(source_of(fake), open_sink(place), progress=Listening())
    assert [line.partition(":")[0] for line in said] == ["sha256"]
    assert "its id is the same" in said[0]
    copy_images(open_source(place), sink_of(other_host), one=True)
    raw, _ = other_host.manifests["copy", "1"]
    assert json.loads(raw)["config"]["digest"] == IMAGE.id


def test_platform(fake: FakeRegistry, other_host: FakeRegistry) -> None:
    arm = make_image(architecture="arm64")
    for image in (IMAGE, arm):
        fake.add("app", "part", image)
    fake.add_manifest("app", "many", make_index([IMAGE, arm]), OCI_INDEX)
    name = Reference.parse(f"{fake.domain}/app:many")
    chosen = RegistrySource(name, options=quick_options(), platform=parse_platform("arm64"))
    assert copy_images(chosen, sink_of(other_host)) == [arm.digest]


ARM = make_image([{"base": noise(1000, 4)}, {"app": b"app\n"}], architecture="arm64")
# As buildkit's attestations are: no layer type, no platform, and only its digest for a name.
EXTRA = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(b"{}", OCI_CONFIG),
        "layers": [descriptor(b"{}", "application/vnd.in-toto+json")],
    }
).encode()


@pytest.fixture
def many(fake: FakeRegistry) -> str:
    """Digest of `app:many`: an index of two images, an attestation, and an index of one of them."""
    for image in (IMAGE, ARM):
        fake.add("app", "part", image)
    fake.blobs["app", digest_of(b"{}")] = b"{}"
    fake.add_manifest("app", "extra", EXTRA, OCI_MANIFEST)
    inner = make_index([ARM])
    fake.add_manifest("app", "inner", inner, OCI_INDEX)
    index = json.loads(make_index([IMAGE, ARM]))
    index["manifests"] += [
        descriptor(EXTRA, OCI_MANIFEST)
        | {"platform": {"architecture": "unknown", "os": "unknown"}},
        descriptor(inner, OCI_INDEX),
    ]
    raw = json.dumps(index, indent=5).encode()
    fake.add_manifest("app", "many", raw, OCI_INDEX)
    return digest_of(raw)


def everything(fake: FakeRegistry, repository: str) -> dict[str, object]:
    """All that a repository has by digest."""
    return {
        name: content
        for (where, name), content in [*fake.blobs.items(), *fake.manifests.items()]
        if where == repository and name.startswith("sha256:")
    }


def test_all_from_registry_to_registry(
    fake: FakeRegistry, other_host: FakeRegistry, many: str
) -> None:
    copied = copy_images(source_of(fake, "app:many"), sink_of(other_host), one=True, every=True)
    assert copied == [many]
    assert everything(other_host, "copy") == everything(fake, "app")
    puts = [seen.path.rpartition("/")[2] for seen in other_host.requests("PUT .*/manifests/")]
    assert puts[-2:] == [many, "1"]
    assert len(puts) == len(set(puts))  # the image that two indexes list goes up once


@pytest.mark.parametrize("form", ["oci:{}/layout:1", "oci-archive:{}/image.tar:1"])
def test_all_there_and_back(
    fake: FakeRegistry, other_host: FakeRegistry, tmp_path: Path, form: str, many: str
) -> None:
    place = form.format(tmp_path)
    assert copy_images(source_of(fake, "app:many"), open_sink(place), every=True) == [many]
    assert copy_images(open_source(place), sink_of(other_host), one=True, every=True) == [many]
    assert everything(other_host, "copy") == everything(fake, "app")
    # An index that is stored whole still gives one platform to whoever wants one.
    chosen = open_source(place, parse_platform("arm64"))
    assert copy_images(chosen, sink_of(other_host, "arm:1")) == [ARM.digest]


def test_all_of_what_is_no_index(fake: FakeRegistry, other_host: FakeRegistry) -> None:
    assert copy_images(source_of(fake), sink_of(other_host), every=True) == [IMAGE.digest]
    assert complete(other_host)


def test_all_into_a_docker_archive(fake: FakeRegistry, tmp_path: Path, many: str) -> None:
    with pytest.raises(UsageError, match="no place for an index"):
        copy_images(
            source_of(fake, "app:many"), open_sink(f"docker-archive:{tmp_path}/x.tar"), every=True
        )
    assert fake.seen == []
    assert list(tmp_path.glob("**/*x.tar*")) == []


def test_all_of_an_incomplete_index(
    fake: FakeRegistry, other_host: FakeRegistry, tmp_path: Path, many: str
) -> None:
    """What an index lists and the source lacks is an error; then the index has no name."""
    for name in (ARM.digest, digest_of(make_index([ARM]))):
        del fake.manifests["app", name]
    for sink in (sink_of(other_host), open_sink(f"oci:{tmp_path}/layout:1")):
        with pytest.raises(LayertoolError, match=f"app@{ARM.digest}: not found"):
            copy_images(source_of(fake, "app:many"), sink, every=True)
    assert ("copy", "1") not in other_host.manifests
    assert not (tmp_path / "layout/index.json").exists()


def test_all_of_a_lying_index(fake: FakeRegistry, other_host: FakeRegistry) -> None:
    """An index that calls an image an index, and one that is another than its digest."""
    entry = descriptor(IMAGE.manifest, OCI_INDEX)
    lie = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    fake.add_manifest("app", "lie", lie, OCI_INDEX)
    with pytest.raises(BadImage):
        copy_images(source_of(fake, "app:lie"), sink_of(other_host), every=True)
    fake.add_manifest("app", "bad", make_index([ARM]), OCI_INDEX)
    fake.manifests["app", ARM.digest] = (IMAGE.manifest, OCI_MANIFEST)
    with pytest.raises(BadDigest):
        copy_images(source_of(fake, "app:bad"), sink_of(other_host), every=True)
    assert other_host.manifests == {}


def test_all_of_a_deep_index(fake: FakeRegistry, other_host: FakeRegistry) -> None:
    raw, kind = IMAGE.manifest, OCI_MANIFEST
    for _ in range(6):
        entry = descriptor(raw, kind)
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        raw, kind = json.dumps(document).encode(), OCI_INDEX
        fake.add_manifest("app", "deep", raw, kind)
    with pytest.raises(BadImage, match="nested more than 4 deep"):
        copy_images(source_of(fake, "app:deep"), sink_of(other_host), every=True)
    assert other_host.manifests == {}


def test_skopeo_copies_the_index_that_we_copied(
    registry: RunningRegistry, fake: FakeRegistry, tmp_path: Path
) -> None:
    """There by us, back by skopeo, and the other way round: always the digest of the index."""
    for image in (IMAGE, ARM):
        fake.add("app", "part", image)
    index = make_index([IMAGE, ARM])
    fake.add_manifest("app", "two", index, OCI_INDEX)
    target = f"docker://{registry.domain}/whole:1"
    copy_images(source_of(fake, "app:two"), sink_of(registry, "whole:1"), every=True)
    assert skopeo("inspect", "--tls-verify=false", "--raw", target) == index
    layout = f"oci:{tmp_path}/theirs:1"
    skopeo("copy", "--all", "--preserve-digests", "--src-tls-verify=false", target, layout)
    back = copy_images(open_source(layout), sink_of(registry, "whole:2"), one=True, every=True)
    assert back == [digest_of(index)]


def test_cut_on_the_way(fake: FakeRegistry, other_host: FakeRegistry) -> None:
    blob = IMAGE.layers[0]
    fake.fail(f"GET .*/{digest_of(blob)}", lambda r: cut(blob, 100_000))
    copy_images(source_of(fake), sink_of(other_host))
    assert complete(other_host)


@pytest.mark.parametrize("form", ["docker://", "oci:{}/layout:1", "oci-archive:{}/image.tar"])
def test_wrong_bytes_get_no_name(
    fake: FakeRegistry, other_host: FakeRegistry, tmp_path: Path, form: str
) -> None:
    digest = digest_of(IMAGE.layers[0])
    fake.blobs["app", digest] = noise(len(IMAGE.layers[0]), 99)
    sink = sink_of(other_host) if form == "docker://" else open_sink(form.format(tmp_path))
    with pytest.raises(BadDigest):
        copy_images(source_of(fake), sink)
    assert other_host.manifests == {}
    assert ("copy", digest) not in other_host.blobs
    assert not (tmp_path / "layout/index.json").exists()
    assert not (tmp_path / "image.tar").exists()


def test_foreign_layers_are_left_out(fake: FakeRegistry, other_host: FakeRegistry) -> None:
    manifest = json.loads(IMAGE.manifest)
    foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    manifest["layers"][0] |= {"mediaType": foreign, "urls": ["https://elsewhere.example/x"]}
    fake.add_manifest("app", "foreign", json.dumps(manifest).encode(), OCI_MANIFEST)
    del fake.blobs["app", digest_of(IMAGE.layers[0])]
    copy_images(source_of(fake, "app:foreign"), sink_of(other_host))
    assert ("copy", "1") in other_host.manifests


def test_a_digest_in_the_target_must_be_the_images(
    fake: FakeRegistry, other_host: FakeRegistry
) -> None:
    copy_images(source_of(fake), sink_of(other_host, f"copy@{IMAGE.digest}"))
    with pytest.raises(BadImage, match=f"the image's digest is {IMAGE.digest}"):
        copy_images(source_of(fake), sink_of(other_host, f"copy@{digest_of(b'other')}"))


def test_several_images_do_not_fit_one_name(
    fake: FakeRegistry, other_host: FakeRegistry, tmp_path: Path
) -> None:
    second = make_image([{"second": b"2"}])
    fake.add("app", "2", second)
    for tag in ("1", "2"):
        copy_images(source_of(fake, f"app:{tag}"), open_sink(f"oci:{tmp_path}/layout:{tag}"))
    both = f"oci:{tmp_path}/layout"
    with pytest.raises(UsageError, match="has 2 images: choose one with SRC:TAG"):
        copy_images(open_source(both), sink_of(other_host), one=True)
    assert other_host.seen == []
    copied = copy_images(open_source(f"{both}:2"), sink_of(other_host), one=True)
    assert copied == [second.digest]


def test_missing(fake: FakeRegistry, tmp_path: Path) -> None:
    with pytest.raises(LayertoolError, match="app:none: not found"):
        copy_images(source_of(fake, "app:none"), open_sink(f"oci:{tmp_path}/layout"))


def test_skopeo_reads_what_we_copied(
    fake: FakeRegistry, registry: RunningRegistry, tmp_path: Path
) -> None:
    copy_images(source_of(fake), sink_of(registry, "copied:1"))
    copy_images(source_of(registry, "copied:1"), open_sink(f"oci:{tmp_path}/layout:1"))
    places = [f"docker://{registry.domain}/copied:1", f"oci:{tmp_path}/layout:1"]
    for place in places:
        raw = skopeo("inspect", "--tls-verify=false", "--raw", place)
        assert Digest.of(raw) == IMAGE.digest
    # and we what it copies
    target = f"docker://{registry.domain}/back:1"
    skopeo("copy", "--dest-tls-verify=false", "--preserve-digests", places[1], target)
    assert copy_images(
        source_of(registry, "back:1"), open_sink(f"oci-archive:{tmp_path}/back.tar:1")
    ) == [IMAGE.digest]


def skopeo(*arguments: str) -> bytes:
    done = subprocess.run(["skopeo", *arguments], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
