"""Images to import: docker-archives made from directories, with a config of one's choice."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def docker_archive(
    at: Path, name: str, layers: Sequence[Path], config: Mapping[str, Any] | None = None
) -> Path:
    """Write a docker-archive of layer directories (bottom first) with a `config` object.

    What lies below home/NAME belongs to 1000:1000, the rest to root.
    """
    blobs = [_tar(layer) for layer in layers]
    document = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": dict(config or {}),
        "rootfs": {
            "type": "layers",
            "diff_ids": ["sha256:" + hashlib.sha256(blob).hexdigest() for blob in blobs],
        },
        "history": [
            {"created": "2024-01-01T00:00:00Z", "created_by": f"layer {number}"}
            for number in range(len(blobs))
        ],
    }
    raw = json.dumps(document).encode()
    config_name = hashlib.sha256(raw).hexdigest() + ".json"
    layer_names = [f"{number}/layer.tar" for number in range(len(blobs))]
    manifest = [{"Config": config_name, "RepoTags": [f"{name}:latest"], "Layers": layer_names}]
    with tarfile.open(at, "w") as archive:
        for member, content in (
            *zip(layer_names, blobs, strict=True),
            (config_name, raw),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return at


def _tar(directory: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(directory.rglob("*")):
            name = str(path.relative_to(directory))
            archive.add(path, arcname=name, recursive=False, filter=_owned)
    return buffer.getvalue()


def _owned(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 1000 if info.name.startswith("home/") else 0
    info.uname = info.gname = ""
    return info
