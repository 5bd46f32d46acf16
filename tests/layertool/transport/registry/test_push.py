"""An image of the store into a registry, unchanged, and nothing sent twice."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest
from registrytest.debian import PASSWORD, USER, RunningRegistry
from registrytest.fake import FakeRegistry, error
from registrytest.images import OCI_LAYER, OCI_MANIFEST, MadeImage, digest_of, make_image, noise
from registrytest.options import quick_options

from layertool.errors import BadImage, LayertoolError, NotFound
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor, ImageConfig
from layertool.oci.names import Reference
from layertool.store import Image, Store
from layertool.transport.registry.auth import AuthError
from layertool.transport.registry.credentials import Credentials
from layertool.transport.registry.pull import pull
from layertool.transport.registry.push import push

IMAGE = make_image([{"base": noise(400_000, 5)}, {"app": b"app\n"}], Cmd=["/app"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def image(fake: FakeRegistry, store: Store) -> Image:
    """An image that came from `origin/app:1` of the fake registry; `seen` is empty again."""
    fake.add("origin/app", "1", IMAGE)
    name = Reference.parse(f"{fake.domain}/origin/app:1")
    found = pull(store, name, options=quick_options())
    fake.seen.clear()
    return found


def send(store: Store, image: Image, domain: str, rest: str, **options: object) -> Digest:
    target = Reference.parse(f"{domain}/{rest}")
    return push(store, image, target, options=quick_options(), **options)  # type: ignore[arg-type]


def test_push(fake: FakeRegistry, other_host: FakeRegistry, store: Store, image: Image) -> None:
    assert send(store, image, other_host.domain, "app:2") == IMAGE.digest
    assert other_host.manifests["app", "2"] == (IMAGE.manifest, OCI_MANIFEST)
    for digest, blob in IMAGE.blobs.items():
        assert other_host.blobs["app", digest] == blob
    # by digest, then the tag, and only when everything else is there
    puts = [seen.path for seen in other_host.requests("PUT .*/manifests/")]
    assert puts == [f"/v2/app/manifests/{IMAGE.digest}", "/v2/app/manifests/2"]
    last_blob = max(n for n, seen in enumerate(other_host.seen) if "/blobs/" in seen.path)
    assert last_blob < other_host.seen.index(other_host.requests("PUT .*/manifests/")[0])
    assert fake.seen == []


def test_push_again_sends_no_blob(other_host: FakeRegistry, store: Store, image: Image) -> None:
    send(store, image, other_host.domain, "app:2")
    other_host.seen.clear()
    send(store, image, other_host.domain, "app:3")
    assert {seen.method for seen in other_host.requests("/blobs/")} == {"HEAD"}


def test_layers_are_mounted_from_where_they_came(
    fake: FakeRegistry, store: Store, image: Image
) -> None:
    send(store, image, fake.domain, "other/app:1")
    sources = {seen.query for seen in fake.requests("POST")}
    for layer in IMAGE.layers:
        assert f"mount={digest_of(layer)}&from=origin%2Fapp" in sources
        assert fake.blobs["other/app", digest_of(layer)] == layer
    # only the config, which no list of layers names, travels
    assert sum(seen.body_size for seen in fake.requests("/blobs/")) == len(IMAGE.config)


def test_no_mount_between_registries(other_host: FakeRegistry, store: Store, image: Image) -> None:
    send(store, image, other_host.domain, "app:1")
    assert all("mount" not in seen.query for seen in other_host.seen)


def test_chunked(other_host: FakeRegistry, store: Store, image: Image) -> None:
    send(store, image, other_host.domain, "app:1", chunk=100_000)
    assert other_host.blobs["app", digest_of(IMAGE.layers[0])] == IMAGE.layers[0]
    assert len(other_host.requests("PATCH")) >= 4


def test_a_digest_in_the_name_must_be_the_images(
    other_host: FakeRegistry, store: Store, image: Image
) -> None:
    send(store, image, other_host.domain, f"app@{IMAGE.digest}")
    assert ("app", "latest") not in other_host.manifests
    with pytest.raises(BadImage, match=f"the image's digest is {IMAGE.digest}"):
        send(store, image, other_host.domain, f"app@{digest_of(b'x')}")


def test_a_missing_blob_is_found_before_anything_is_sent(
    fake: FakeRegistry, tmp_path: Path
) -> None:
    """A store may have a layer's tree without the compressed blob that it came from."""
    store = Store.open(tmp_path / "trees")
    config = ImageConfig.decode(IMAGE.config)
    for blob, diff_id in zip(IMAGE.layers, config.rootfs.diff_ids, strict=True):
        layer = Descriptor.of(blob, OCI_LAYER)
        store.put_layer(io.BytesIO(blob), layer, diff_id, keep_blob=False)
    image = store.put_image(IMAGE.manifest, IMAGE.config)
    with pytest.raises(NotFound, match=rf"blob {digest_of(IMAGE.layers[0])} is not in the store"):
        send(store, image, fake.domain, "app:1")
    assert fake.seen == []


def test_failures_leave_no_tag(other_host: FakeRegistry, store: Store, image: Image) -> None:
    other_host.fail("PUT .*/blobs/", lambda r: error(400, "DIGEST_INVALID"), times=99)
    with pytest.raises(LayertoolError, match="DIGEST_INVALID"):
        send(store, image, other_host.domain, "app:1")
    assert other_host.manifests == {}


def test_foreign_layers_stay_where_they_are(
    fake: FakeRegistry, other_host: FakeRegistry, store: Store
) -> None:
    manifest = json.loads(IMAGE.manifest)
    manifest["layers"][0] |= {
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "urls": ["https://elsewhere.example/layer"],
    }
    foreign = MadeImage(json.dumps(manifest).encode(), IMAGE.config, IMAGE.layers)
    fake.add("foreign", "1", foreign)
    name = Reference.parse(f"{fake.domain}/foreign:1")
    pulled = pull(store, name, options=quick_options())
    assert send(store, pulled, other_host.domain, "app:1") == foreign.digest
    assert ("app", digest_of(IMAGE.layers[0])) not in other_host.blobs
    assert ("app", digest_of(IMAGE.layers[1])) in other_host.blobs


def test_debian_registry_and_skopeo(
    registry: RunningRegistry, store: Store, image: Image, tmp_path: Path
) -> None:
    """The second client reads what we push: same digest, same bytes."""
    send(store, image, registry.domain, "pushed:1")
    target = tmp_path / "copied"
    run_skopeo(
        "copy", "--src-tls-verify=false", f"docker://{registry.domain}/pushed:1", f"dir:{target}"
    )
    assert (target / "manifest.json").read_bytes() == IMAGE.manifest
    for digest, blob in IMAGE.blobs.items():
        assert (target / digest.partition(":")[2]).read_bytes() == blob
    raw = run_skopeo(
        "inspect", "--tls-verify=false", "--raw", f"docker://{registry.domain}/pushed:1"
    )
    assert digest_of(raw.encode()) == IMAGE.digest


def test_password(guarded: RunningRegistry, store: Store, image: Image) -> None:
    target = Reference.parse(f"{guarded.domain}/app:1")
    with pytest.raises(AuthError, match=f"layertool login {guarded.domain}"):
        push(store, image, target, options=quick_options())
    known = quick_options(Credentials(USER, PASSWORD))
    assert push(store, image, target, options=known) == IMAGE.digest
    again = pull(Store.open(store.root.parent / "second"), target, options=known)
    assert again.manifest_digest == IMAGE.digest


def run_skopeo(*arguments: str) -> str:
    done = subprocess.run(["skopeo", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
