"""Small images made on the spot, as the raw bytes that a registry serves."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


@dataclass
class MadeImage:
    """An image: its manifest, and everything that the manifest names, by digest."""

    manifest: bytes
    config: bytes
    layers: list[bytes]
    media_type: str = OCI_MANIFEST
    blobs: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.blobs = {digest_of(blob): blob for blob in [self.config, *self.layers]}

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def id(self) -> str:
        return digest_of(self.config)


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same each time."""
    return random.Random(seed).randbytes(size)


def layer_tar(files: Mapping[str, bytes]) -> bytes:
    """An uncompressed layer with regular files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def make_image(
    layers: Sequence[Mapping[str, bytes]] = ({"hello": b"hello\n"},),
    *,
    architecture: str = "amd64",
    **config: Any,
) -> MadeImage:
    """An image with one layer for each mapping of file names to contents."""
    tars = [layer_tar(files) for files in layers]
    blobs = [gzip.compress(tar, 1, mtime=0) for tar in tars]
    document = {
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(tars))],
    }
    raw_config = json.dumps(document).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(raw_config, OCI_CONFIG),
        "layers": [descriptor(blob, OCI_LAYER) for blob in blobs],
    }
    # Spaces that no encoder of ours would write: bytes must be kept, not made again.
    return MadeImage(json.dumps(manifest, indent=3).encode(), raw_config, blobs)


def make_index(images: Sequence[MadeImage]) -> bytes:
    """An index of images, each for the architecture of its config."""
    manifests = []
    for image in images:
        config = json.loads(image.config)
        entry = descriptor(image.manifest, image.media_type)
        entry["platform"] = {"architecture": config["architecture"], "os": "linux"}
        manifests.append(entry)
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
