"""An image being made: its config document, layers and history.

The document starts as the base image's JSON with every field kept, known to us or not; only what
instructions say is changed. A base's history and layers are never rewritten.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
# A Docker base's layers keep their bytes; only the name of their type changes.
_LAYER_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": (
        "application/vnd.oci.image.layer.v1.tar+gzip"
    ),
    "application/vnd.docker.image.rootfs.diff.tar.zstd": (
        "application/vnd.oci.image.layer.v1.tar+zstd"
    ),
}
# Facts about how the base was made, which would be wrong in a derived image.
_NOT_INHERITED = ("container", "container_config", "docker_version", "id", "parent")
COMMENT = "layertool"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as manifest and config name it. `size` is that of the blob, in bytes."""

    media_type: str
    digest: str
    size: int
    diff_id: str

    def descriptor(self) -> dict[str, Any]:
        """For the manifest."""
        media_type = _LAYER_TYPES.get(self.media_type, self.media_type)
        return {"mediaType": media_type, "digest": self.digest, "size": self.size}


@dataclass(slots=True)
class Draft:
    """The state after a step. `base` is what the manifest's annotations say about FROM.

    The first `base_layers` layers and `base_history` history entries are the base image's.
    """

    document: dict[str, Any]
    layers: list[Layer] = field(default_factory=list)
    base: dict[str, str] = field(default_factory=dict)
    base_layers: int = 0
    base_history: int = 0

    @classmethod
    def scratch(cls, os: str, architecture: str, variant: str | None) -> Draft:
        """FROM scratch."""
        document: dict[str, Any] = {"architecture": architecture, "os": os}
        if variant:
            document["variant"] = variant
        return cls(document)

    @classmethod
    def derive(cls, config: bytes, layers: Sequence[Layer], base: Mapping[str, str]) -> Draft:
        """FROM an image: `config` is its config JSON as stored."""
        document = json.loads(config)
        for name in _NOT_INHERITED:
            document.pop(name, None)
        history = len(document.get("history") or [])
        return cls(document, list(layers), dict(base), len(layers), history)

    def fork(self) -> Draft:
        """A copy for the stage built on this one."""
        return replace(
            self,
            document=copy.deepcopy(self.document),
            layers=list(self.layers),
            base=dict(self.base),
        )

    # -- reading

    @property
    def config(self) -> dict[str, Any]:
        """The run part of the document; optional in images, hence made when missing."""
        run = self.document.get("config")
        if not isinstance(run, dict):
            run = self.document["config"] = {}
        return run

    def env(self) -> dict[str, str]:
        """The environment, in order."""
        pairs = (item.partition("=") for item in self.strings("Env"))
        return {name: value for name, _, value in pairs}

    def strings(self, key: str) -> list[str]:
        """A list of strings of the config; null counts as empty."""
        return list(self.config.get(key) or [])

    def text(self, key: str) -> str:
        """A string of the config; null counts as empty."""
        return str(self.config.get(key) or "")

    def workdir(self) -> str:
        """The working directory, `/` when unset."""
        return self.text("WorkingDir") or "/"

    def shell(self) -> list[str]:
        """What runs the shell form."""
        return self.strings("Shell") or ["/bin/sh", "-c"]

    def architecture(self) -> str:
        """The document's architecture."""
        return str(self.document.get("architecture") or "")

    def state_digest(self) -> str:
        """Identifies everything of this state that a following step can depend on.

        History, times and annotations are left out: an image rebuilt to the same layers and config
        lets the steps above it hit the cache.
        """
        state = {
            "layers": [layer.diff_id for layer in self.layers],
            "config": self.config,
            "os": self.document.get("os"),
            "architecture": self.document.get("architecture"),
            "variant": self.document.get("variant"),
        }
        canonical = json.dumps(state, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()

    def content_digest(self) -> str:
        """Identifies the files alone: what COPY --from and mounts see."""
        diff_ids = "\n".join(layer.diff_id for layer in self.layers)
        return "sha256:" + hashlib.sha256(diff_ids.encode()).hexdigest()

    # -- changing

    def set_env(self, name: str, value: str) -> None:
        """Set a variable, keeping its place when it exists."""
        env = self.env()
        env[name] = value
        self.config["Env"] = [f"{key}={text}" for key, text in env.items()]

    def record(self, created_by: str, created: str, layer: Layer | None) -> None:
        """Append a step's history and, when it made one, its layer."""
        entry: dict[str, Any] = {"created": created, "created_by": created_by, "comment": COMMENT}
        if layer is None:
            entry["empty_layer"] = True
        else:
            self.layers.append(layer)
        history = self.document.get("history")
        self.document["history"] = [*(history or []), entry]
        self.document["created"] = created

    def finish(self) -> tuple[bytes, bytes]:
        """(manifest, config) as JSON bytes. Equal drafts give equal bytes."""
        diff_ids = [layer.diff_id for layer in self.layers]
        document = {**self.document, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        config = _json(document)
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": OCI_CONFIG,
                "digest": "sha256:" + hashlib.sha256(config).hexdigest(),
                "size": len(config),
            },
            "layers": [layer.descriptor() for layer in self.layers],
        }
        if self.base:
            manifest["annotations"] = {
                f"org.opencontainers.image.base.{key}": value for key, value in self.base.items()
            }
        return _json(manifest), config


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
