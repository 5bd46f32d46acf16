"""Media types of manifests, configurations and layers, OCI's and docker's (image-spec)."""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"

DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_SCHEMA1 = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})

# What to put in an Accept header: a registry that is not told answers 404 or converts.
ACCEPTED = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)

_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"


def is_layer(media_type: str) -> bool:
    """Whether this is a layer tar of any family and compression.

    The suffix says nothing reliable about the compression: sniff the bytes
    (`layertool.archive.sniff`).
    """
    return media_type.startswith((OCI_LAYER, DOCKER_LAYER)) or is_nondistributable(media_type)


def is_nondistributable(media_type: str) -> bool:
    """Whether a layer should not be pushed: it is to be had from its own `urls`."""
    return media_type.startswith((_NONDISTRIBUTABLE, DOCKER_FOREIGN_LAYER))
