"""An image from a registry into the store: checked, resumed, shared between processes."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from registrytest.debian import RunningRegistry
from registrytest.fake import FakeRegistry, cut, drip, error
from registrytest.images import (
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    MadeImage,
    descriptor,
    digest_of,
    layer_tar,
    make_image,
    make_index,
    noise,
)
from registrytest.options import quick_options
from werkzeug import Request, Response

from layertool.errors import BadArchive, BadDigest, BadImage, LayertoolError, NotFound
from layertool.oci.digest import Digest
from layertool.oci.names import Reference
from layertool.oci.platform import parse_platform
from layertool.store import Image, Store
from layertool.transport.registry.pull import pull

IMAGE = make_image(
    [{"base": noise(600_000, 1)}, {"app": noise(500_000, 2)}, {"conf": b"x=1\n"}, {"last": b"!"}]
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def ref(fake: FakeRegistry | RunningRegistry, rest: str = "app:1") -> Reference:
    return Reference.parse(f"{fake.domain}/{rest}")


def fetch(store: Store, reference: Reference, platform: str | None = None) -> Image:
    wanted = parse_platform(platform) if platform else None
    return pull(store, reference, options=quick_options(), platform=wanted)


def nothing_published(store: Store) -> bool:
    """No image, no name, no half-made layer, and fsck agrees."""
    return store.images() == [] and store.fsck() == []


def blob_requests(fake: FakeRegistry, image: MadeImage = IMAGE) -> dict[str, int]:
    """How often each layer was asked for."""
    counts = {digest_of(layer): 0 for layer in image.layers}
    for seen in fake.requests("GET .*/blobs/"):
        digest = seen.path.rpartition("/")[2]
        if digest in counts:
            counts[digest] += 1
    return counts


def test_pull(fake: FakeRegistry, store: Store) -> None:
    fake.add("app", "1", IMAGE)
    image = fetch(store, ref(fake))
    assert image.id == IMAGE.id
    assert image.manifest.raw == IMAGE.manifest
    assert image.manifest_digest == IMAGE.digest
    assert store.resolve(f"{fake.domain}/app:1").id == IMAGE.id
    base, *_, last = reversed(image.layer_dirs())
    assert (base / "base").read_bytes() == noise(600_000, 1)
    assert (last / "last").read_bytes() == b"!"
    for layer in IMAGE.layers:
        assert store.blob_path(Digest(digest_of(layer))).read_bytes() == layer
    assert store.fsck() == []


def test_known_layers_are_not_asked_for(fake: FakeRegistry, store: Store) -> None:
    fake.add("app", "1", IMAGE)
    fetch(store, ref(fake))
    more = make_image([{"base": noise(600_000, 1)}, {"app": noise(500_000, 2)}, {"new": b"new"}])
    fake.add("app", "2", more)
    fake.seen.clear()
    fetch(store, ref(fake, "app:2"))
    assert list(blob_requests(fake, more).values()) == [0, 0, 1]


def test_pull_again_asks_for_the_manifest_and_config_alone(
    fake: FakeRegistry, store: Store
) -> None:
    fake.add("app", "1", IMAGE)
    fetch(store, ref(fake))
    fake.seen.clear()
    fetch(store, ref(fake))
    assert set(blob_requests(fake).values()) == {0}


def test_a_layer_twice_in_one_image(fake: FakeRegistry, store: Store) -> None:
    image = make_image([{"same": b"same"}, {"other": b"other"}, {"same": b"same"}])
    fake.add("app", "1", image)
    pulled = fetch(store, ref(fake))
    assert len(pulled.layer_dirs()) == 3
    assert set(blob_requests(fake, image).values()) == {1}


def test_platform_of_an_index(fake: FakeRegistry, store: Store) -> None:
    amd, arm = make_image(architecture="amd64"), make_image(architecture="arm64")
    for image in (amd, arm):
        fake.add("app", "part", image)
    fake.add_manifest("app", "1", make_index([amd, arm]), OCI_INDEX)
    assert fetch(store, ref(fake), "linux/arm64").id == arm.id
    assert fetch(store, ref(fake), "linux/amd64").id == amd.id
    assert store.resolve(f"{fake.domain}/app:1").id == amd.id


def test_by_digest(fake: FakeRegistry, store: Store) -> None:
    fake.add("app", "1", IMAGE)
    name = f"{fake.domain}/app@{IMAGE.digest}"
    assert fetch(store, Reference.parse(name)).id == IMAGE.id
    assert store.resolve(name).id == IMAGE.id


def test_missing(fake: FakeRegistry, store: Store) -> None:
    with pytest.raises(NotFound, match=f"{fake.domain}/app:1: not found"):
        fetch(store, ref(fake))
    assert nothing_published(store)


def test_cut_connections(fake: FakeRegistry, store: Store) -> None:
    fake.add("app", "1", IMAGE)
    blob = IMAGE.layers[0]
    fake.fail(f"GET .*/{digest_of(blob)}", lambda r: cut(blob, 200_000))
    assert fetch(store, ref(fake)).id == IMAGE.id
    assert store.fsck() == []


def _other_gzip(blob: bytes) -> bytes:
    """The same tar, other bytes of the same length class: only the digest tells."""
    return gzip.compress(gzip.decompress(blob), 9)


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        (lambda blob: _other_gzip(blob), LayertoolError),
        (lambda blob: blob + b"more", BadDigest),
        (lambda blob: blob[:1000] + b"\0\0\0\0" + blob[1004:], (BadDigest, BadArchive)),
        (lambda blob: b"\0" * len(blob), (BadDigest, BadArchive)),
        (lambda blob: blob[:-1], LayertoolError),
    ],
)
def test_wrong_bytes_are_not_published(
    fake: FakeRegistry,
    store: Store,
    change: Callable[[bytes], bytes],
    errors: type[LayertoolError] | tuple[type[LayertoolError], ...],
) -> None:
    fake.add("app", "1", IMAGE)
    digest = Digest(digest_of(IMAGE.layers[0]))
    fake.blobs["app", digest] = change(IMAGE.layers[0])
    with pytest.raises(errors):
        fetch(store, ref(fake))
    assert nothing_published(store)
    assert not store.has_blob(digest)
    # and nothing of it is in the way of the right ones
    fake.blobs["app", digest] = IMAGE.layers[0]
    assert fetch(store, ref(fake)).id == IMAGE.id


def test_wrong_diff_id(fake: FakeRegistry, store: Store) -> None:
    """The blob is what its digest says; the config promised another tar."""
    config = json.loads(IMAGE.config)
    config["rootfs"]["diff_ids"][0] = digest_of(b"another tar")
    fake.add("app", "1", with_config(IMAGE, config))
    with pytest.raises(BadDigest):
        fetch(store, ref(fake))
    assert nothing_published(store)


def with_config(image: MadeImage, config: object) -> MadeImage:
    raw = json.dumps(config).encode()
    manifest = json.loads(image.manifest)
    manifest["config"] |= {"digest": digest_of(raw), "size": len(raw)}
    return MadeImage(json.dumps(manifest).encode(), raw, image.layers)


def test_fewer_diff_ids_than_layers(fake: FakeRegistry, store: Store) -> None:
    config = json.loads(IMAGE.config)
    config["rootfs"]["diff_ids"].pop()
    fake.add("app", "1", with_config(IMAGE, config))
    with pytest.raises(BadImage, match="4 layers in the manifest and 3 diffIDs"):
        fetch(store, ref(fake))
    assert blob_requests(fake) == dict.fromkeys(blob_requests(fake), 0)


def test_foreign_urls_are_not_followed(
    fake: FakeRegistry, other_host: FakeRegistry, store: Store
) -> None:
    manifest = json.loads(IMAGE.manifest)
    blob = IMAGE.layers[0]
    manifest["layers"][0]["urls"] = [f"{other_host.url}/{digest_of(blob)}"]
    other_host.faults.append(lambda request: Response(blob))
    fake.add("app", "1", MadeImage(json.dumps(manifest).encode(), IMAGE.config, IMAGE.layers))
    del fake.blobs["app", digest_of(blob)]
    with pytest.raises(NotFound, match=digest_of(blob)):
        fetch(store, ref(fake))
    assert other_host.seen == []


def test_one_failure_stops_the_others(fake: FakeRegistry, store: Store) -> None:
    fake.add("app", "1", IMAGE)
    slow, bad = digest_of(IMAGE.layers[0]), digest_of(IMAGE.layers[1])
    fake.fail(f"GET .*/{slow}", lambda r: drip(IMAGE.layers[0], 2000, 0.3))
    fake.fail(f"GET .*/{bad}", lambda r: error(410, "GONE"), times=9)
    started = time.monotonic()
    with pytest.raises(LayertoolError, match="answered 410"):
        fetch(store, ref(fake))
    assert time.monotonic() - started < 10
    assert nothing_published(store)


def test_redirected_blobs(fake: FakeRegistry, other_host: FakeRegistry, store: Store) -> None:
    fake.add("app", "1", IMAGE)
    other_host.add("app", "1", IMAGE)
    fake.fail(
        "GET .*/blobs/",
        lambda r: Response("", 307, {"Location": f"{other_host.url}{r.path}?sig=1"}),
        times=99,
    )
    assert fetch(store, ref(fake)).id == IMAGE.id
    assert all(seen.authorization is None for seen in other_host.seen)


def test_layer_media_types_are_not_believed(fake: FakeRegistry, store: Store) -> None:
    """grootfs#278: gzip that is called a plain tar, and the other way round."""
    tar = layer_tar({"f": b"content"})
    for number, (blob, media_type) in enumerate(
        [(gzip.compress(tar), "application/vnd.oci.image.layer.v1.tar"), (tar, OCI_LAYER)]
    ):
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Labels": {"n": str(number)}},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]},
            }
        ).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor(blob, media_type)],
        }
        image = MadeImage(json.dumps(manifest).encode(), config, [blob])
        fake.add("app", f"t{number}", image)
        pulled = fetch(store, ref(fake, f"app:t{number}"))
        assert (pulled.layer_dirs()[0] / "f").read_bytes() == b"content"


# Runs as its own process: prints the id, or dies when it is killed.
_PULL = """
import sys
from layertool.oci.names import Reference
from layertool.store import Store
from layertool.transport.registry.pull import pull
from registrytest.options import quick_options
from pathlib import Path
image = pull(Store.open(Path(sys.argv[1])), Reference.parse(sys.argv[2]), options=quick_options())
print(image.id)
"""


def start_pull(store: Path, reference: Reference) -> subprocess.Popen[str]:
    support = Path(__file__).parents[3] / "support"
    return subprocess.Popen(
        [sys.executable, "-c", _PULL, str(store), str(reference)],
        env=os.environ | {"PYTHONPATH": str(support)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_goes_on_after_kill_9(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.add("app", "1", IMAGE)
    blob = IMAGE.layers[0]
    stuck = threading.Event()

    def hang(request: Request) -> Response:
        def pieces():  # type: ignore[no-untyped-def]
            yield blob[:300_000]
            stuck.wait(20)

        return Response(pieces(), 200, {"Content-Length": str(len(blob))})

    fake.fail(f"GET .*/{digest_of(blob)}", hang)
    root = tmp_path / "store"
    process = start_pull(root, ref(fake))
    partial = Store.open(root).partial_blob(Digest(digest_of(blob)))
    deadline = time.monotonic() + 20
    while not (partial.exists() and partial.stat().st_size >= 200_000):
        assert time.monotonic() < deadline, "the partial file does not grow"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    stuck.set()
    kept = partial.stat().st_size
    fake.seen.clear()
    assert fetch(Store.open(root), ref(fake)).id == IMAGE.id
    [asked] = fake.requests(f"GET .*/{digest_of(blob)}")
    assert asked.headers["Range"] == f"bytes={kept}-"
    assert not partial.exists()
    assert Store.open(root).fsck() == []


def test_a_damaged_partial_is_thrown_away(fake: FakeRegistry, store: Store) -> None:
    """As after a power loss: the length is right and the content is zeros."""
    fake.add("app", "1", IMAGE)
    partial = store.partial_blob(Digest(digest_of(IMAGE.layers[0])))
    partial.write_bytes(b"\0" * 100_000)
    assert fetch(store, ref(fake)).id == IMAGE.id
    assert not partial.exists()
    ranges = [s.headers.get("Range") for s in fake.requests(digest_of(IMAGE.layers[0]))]
    assert ranges[-1] is None


def test_two_processes_download_once(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.add("app", "1", IMAGE)
    slow = IMAGE.layers[0]
    fake.fail(f"GET .*/{digest_of(slow)}", lambda r: drip(slow, 100_000, 0.1), times=9)
    processes = [start_pull(tmp_path / "store", ref(fake)) for _ in range(2)]
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert output.strip() == IMAGE.id
    assert set(blob_requests(fake).values()) == {1}
    assert Store.open(tmp_path / "store").fsck() == []


def test_from_debian_registry_with_skopeo_as_the_pusher(
    registry: RunningRegistry, store: Store, tmp_path: Path
) -> None:
    layout = write_layout(tmp_path / "layout", IMAGE)
    skopeo("copy", "--preserve-digests", f"oci:{layout}:1", f"docker://{registry.domain}/skopeo:1")
    image = fetch(store, ref(registry, "skopeo:1"))
    assert image.manifest_digest == IMAGE.digest
    assert image.id == IMAGE.id


def skopeo(command: str, *arguments: str) -> str:
    tls = ["--dest-tls-verify=false"] if command == "copy" else ["--tls-verify=false"]
    done = subprocess.run(
        ["skopeo", command, *tls, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_layout(root: Path, image: MadeImage) -> Path:
    """An OCI layout directory with one image, tagged 1."""
    blobs = root / "blobs/sha256"
    blobs.mkdir(parents=True)
    for blob in [image.manifest, *image.blobs.values()]:
        (blobs / digest_of(blob).partition(":")[2]).write_bytes(blob)
    entry = descriptor(image.manifest, OCI_MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    (root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return root


def test_names_in_errors_are_whole(fake: FakeRegistry, store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        fetch(store, ref(fake, "team/app:9"))
    assert re.match(rf"{re.escape(fake.domain)}/team/app:9: ", str(caught.value))
