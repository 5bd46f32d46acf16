"""OCI vocabulary: names, digests, manifests, configurations, platforms. No files, no network."""

from layertool.oci.digest import Digest
from layertool.oci.names import Reference

__all__ = ["Digest", "Reference"]
