"""Manifests, indexes and image configurations, as read from bytes that others wrote.

Each document keeps its `raw` bytes: digests are taken over these, and they, never a re-encoding,
go to stores and registries. A derived configuration is edited as JSON, so that fields unknown here
survive. Field names are those of the specification. Sizes in bytes.

Sources: image-spec manifest.md, image-index.md, config.md, descriptor.md; docker's image v1.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from layertool.errors import BadDigest, BadImage, Unsupported
from layertool.oci import media
from layertool.oci.digest import Digest
from layertool.oci.platform import Platform

# More is no image but an attack on memory (CVE-2020-1702).
MAX_MANIFEST = 4 << 20
MAX_CONFIG = 8 << 20

_Size = Annotated[int, msgspec.Meta(ge=0)]
# What servers say when they do not know: no claim, so nothing to contradict.
_GENERIC_TYPES = frozenset({"application/octet-stream", "application/json", "text/plain"})

_D = TypeVar("_D", bound="Document")


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pointer to content: what it is, its digest, its exact size in bytes."""

    mediaType: str
    digest: Digest
    size: _Size
    annotations: dict[str, str] | None = None
    urls: list[str] | None = None
    platform: Platform | None = None
    artifactType: str | None = None

    def __hash__(self) -> int:
        return hash((self.digest, self.size, self.mediaType))

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Descriptor:
        """The descriptor of `data`."""
        return cls(mediaType=media_type, digest=Digest.of(data), size=len(data))

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest or index, without the absent fields."""
        return _plain(self)


class Document(msgspec.Struct, dict=True, kw_only=True, omit_defaults=True):
    """A JSON document that keeps its bytes. `raw` is no field, so that no JSON can set it."""

    @property
    def raw(self) -> bytes:
        """The bytes the document was read from."""
        return self.__dict__["raw"]  # type: ignore[no-any-return]

    @property
    def digest(self) -> Digest:
        """The digest of the raw bytes."""
        return Digest.of(self.raw)


class Manifest(Document):
    """An image manifest: one configuration, and the layers from the base up."""

    config: Descriptor
    layers: list[Descriptor]
    schemaVersion: int = 2
    mediaType: str = ""
    artifactType: str | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def decode(cls, raw: bytes) -> Manifest:
        """Raises `BadImage` or `Unsupported`."""
        document = parse_manifest(raw, None)
        if not isinstance(document, cls):
            raise BadImage("expected an image manifest, found an index")
        return document

    @classmethod
    def build(
        cls,
        config: Descriptor,
        layers: Sequence[Descriptor],
        *,
        media_type: str = media.OCI_MANIFEST,
        annotations: Mapping[str, str] | None = None,
    ) -> Manifest:
        """A new manifest, encoded."""
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        if annotations:
            document["annotations"] = dict(annotations)
        return cls.decode(msgspec.json.encode(document))

    @property
    def media_type(self) -> str:
        """What it says it is; else what its configuration tells."""
        if self.mediaType:
            return self.mediaType
        docker = self.config.mediaType == media.DOCKER_CONFIG
        return media.DOCKER_MANIFEST if docker else media.OCI_MANIFEST


class Index(Document):
    """An image index (docker: manifest list): the same image for several platforms."""

    manifests: list[Descriptor]
    schemaVersion: int = 2
    mediaType: str = ""
    artifactType: str | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def decode(cls, raw: bytes) -> Index:
        """Raises `BadImage` or `Unsupported`."""
        document = parse_manifest(raw, None)
        if not isinstance(document, cls):
            raise BadImage("expected an index, found an image manifest")
        return document

    @classmethod
    def build(
        cls,
        manifests: Sequence[Descriptor],
        *,
        media_type: str = media.OCI_INDEX,
        annotations: Mapping[str, str] | None = None,
    ) -> Index:
        """A new index, encoded."""
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [manifest.to_json() for manifest in manifests],
        }
        if annotations:
            document["annotations"] = dict(annotations)
        return cls.decode(msgspec.json.encode(document))

    @property
    def media_type(self) -> str:
        """What it says it is; the OCI type when it says nothing."""
        return self.mediaType or media.OCI_INDEX


class History(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of an image's making; those without `empty_layer` pair with the diffIDs."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class RootFS(msgspec.Struct, frozen=True, kw_only=True):
    """The layers by content: diffIDs, base first."""

    diff_ids: list[Digest] = msgspec.field(default_factory=list)
    type: str = "layers"


class ImageConfig(Document):
    """An image configuration. `config` holds the run parameters (Env, Cmd, User, …) as they are."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    created: str = ""
    author: str = ""
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    rootfs: RootFS = msgspec.field(default_factory=RootFS)
    history: list[History] = msgspec.field(default_factory=list)

    @classmethod
    def decode(cls, raw: bytes) -> ImageConfig:
        """Raises `BadImage`."""
        _bound(raw, MAX_CONFIG, "image configuration")
        return _structure(cls, raw, _json_object(raw, "image configuration"), "image configuration")

    @classmethod
    def scratch(cls, platform: Platform, *, created: str = "") -> ImageConfig:
        """The configuration of an image of no layers."""
        document: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
        if platform.variant:
            document["variant"] = platform.variant
        if created:
            document["created"] = created
        document |= {"config": {}, "rootfs": {"type": "layers", "diff_ids": []}, "history": []}
        return cls.decode(msgspec.json.encode(document))

    @property
    def platform(self) -> Platform:
        return Platform(os=self.os, architecture=self.architecture, variant=self.variant)

    @property
    def history_matches(self) -> bool:
        """Whether each layer has its history entry; images in the wild break this."""
        steps = sum(not entry.empty_layer for entry in self.history)
        return steps == len(self.rootfs.diff_ids)

    def derive(
        self,
        history: Sequence[History],
        *,
        diff_ids: Iterable[Digest] = (),
        config: Mapping[str, Any] | None = None,
        author: str | None = None,
    ) -> ImageConfig:
        """This configuration with layers and history added and `config` keys replaced.

        A value of None removes the key. Unknown fields stay; the base's history stays untouched.
        What docker recorded about the container it was committed from would be false: dropped.
        """
        document = _json_object(self.raw, "image configuration")
        for key in ("container", "container_config", "id", "parent"):
            document.pop(key, None)
        rootfs = document.get("rootfs") or {"type": "layers"}
        rootfs["diff_ids"] = [*self.rootfs.diff_ids, *diff_ids]
        document["rootfs"] = rootfs
        document["history"] = [*(document.get("history") or []), *map(_plain, history)]
        document["config"] = _replaced(document.get("config") or {}, config or {})
        if history and history[-1].created:
            document["created"] = history[-1].created
        if author is not None:
            document["author"] = author
        return ImageConfig.decode(msgspec.json.encode(document, enc_hook=str))


def parse_manifest(raw: bytes, content_type: str | None) -> Manifest | Index:
    """Read a manifest or an index, deciding by its content which one it is.

    `content_type` is what the transport says it is, None when it says nothing. Raises `BadImage`
    for what is no manifest, is both kinds at once, or is not what the transport says (a document
    whose meaning depends on the reader is CVE-2021-41190), and `Unsupported` for schema 1.
    """
    _bound(raw, MAX_MANIFEST, "manifest")
    document = _json_object(raw, "manifest")
    claimed = _claimed_type(document, content_type)
    # Go's decoder ignores case: `Layers` would be layers to other tools.
    keys = {key.lower() for key in document}
    if document.get("schemaVersion") == 1 or "fslayers" in keys or claimed in media.DOCKER_SCHEMA1:
        raise Unsupported(
            "manifest is of docker's schema 1, given up in 2017: push the image again with a "
            "newer tool"
        )
    is_index = "manifests" in keys
    if is_index and keys & {"layers", "config"}:
        raise BadImage("manifest is an index and an image at once: refused (CVE-2021-41190)")
    expected = media.INDEXES if is_index else media.MANIFESTS
    if claimed and claimed not in expected:
        what = "an index" if is_index else "an image manifest"
        raise BadImage(f"manifest has the content of {what}, but the media type {claimed!r:.200}")
    if document.get("schemaVersion", 2) != 2:
        raise BadImage(f"manifest: schemaVersion {document['schemaVersion']!r:.50}, expected 2")
    if is_index:
        return _structure(Index, raw, document, "index")
    return _structure(Manifest, raw, document, "manifest")


def _claimed_type(document: Mapping[str, Any], content_type: str | None) -> str:
    """The media type that document and transport agree upon, or the only one given, or none."""
    inner = document.get("mediaType") or ""
    outer = (content_type or "").partition(";")[0].strip().lower()
    if not isinstance(inner, str):
        raise BadImage("manifest: mediaType is not a string")
    if outer in _GENERIC_TYPES:
        outer = ""
    if inner and outer and inner != outer:
        raise BadImage(
            f"manifest says it is {inner!r:.200}, the transport says {outer!r:.200}: refused"
        )
    return inner or outer


def _bound(raw: bytes, limit: int, what: str) -> None:
    if len(raw) > limit:
        raise BadImage(f"{what}: {len(raw)} bytes, more than the limit of {limit}")


def _json_object(raw: bytes, what: str) -> dict[str, Any]:
    """The top-level object, as it stands."""
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadImage(f"{what}: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadImage(f"{what}: not a JSON object")
    return document


def _structure(kind: type[_D], raw: bytes, document: dict[str, Any], what: str) -> _D:
    try:
        result = msgspec.convert(_without_nulls(document), kind, dec_hook=_custom)
    except (msgspec.ValidationError, BadDigest) as error:
        raise BadImage(f"{what}: {error}") from None
    result.__dict__["raw"] = raw
    return result


def _without_nulls(value: Any) -> Any:
    """A null field means an absent one: docker writes both."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _custom(kind: type, value: Any) -> Any:
    """msgspec's hook for the types it does not know."""
    if kind is Digest and isinstance(value, str):
        return Digest(value)
    raise NotImplementedError(f"{kind.__name__} from {type(value).__name__}")


def _plain(struct: msgspec.Struct) -> dict[str, Any]:
    plain = msgspec.to_builtins(struct, enc_hook=str)
    return {key: value for key, value in plain.items() if value is not None}


def _replaced(config: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**config, **changes}
    return {key: value for key, value in merged.items() if value is not None}
