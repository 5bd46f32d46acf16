"""Stores with small images in them."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

from registrytest.images import MadeImage

from layertool.oci.model import ImageConfig, Manifest
from layertool.oci.names import Reference
from layertool.store import Image, Store

BASE = {"etc/os-release": b"ID=test\n", "usr/bin/tool": b"\x7fELF" + bytes(50_000)}


def put(store: Store, made: MadeImage, *names: str) -> Image:
    """Store an image layer by layer, as a pull does."""
    manifest, config = Manifest.decode(made.manifest), ImageConfig.decode(made.config)
    with store.lease():
        pairs = zip(made.layers, manifest.layers, config.rootfs.diff_ids, strict=True)
        for blob, descriptor, diff_id in pairs:
            store.put_layer(io.BytesIO(blob), descriptor, diff_id)
        return store.put_image(
            made.manifest, made.config, names=[Reference.parse(name) for name in names]
        )


def du(path: Path) -> int:
    """What du says: bytes on disk."""
    shown = subprocess.run(
        ["du", "-s", "--block-size=1", str(path)], check=True, capture_output=True, text=True
    )
    return int(shown.stdout.split()[0])
