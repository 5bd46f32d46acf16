"""Content digests. A `Digest` that exists is well formed, so it is safe inside a path."""

from __future__ import annotations

import hashlib
import re

from layertool.errors import BadDigest

_WELL_FORMED = re.compile(r"sha256:[0-9a-f]{64}")


class Digest(str):
    """`sha256:` and 64 lower-case hex digits.

    Validated on construction, before anything can join it to a path (CVE-2014-9358,
    CVE-2024-3727: digests such as `sha256:../../x`). Raises `BadDigest`.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        if not _WELL_FORMED.fullmatch(text):
            raise BadDigest(f"{_shown(text)}: not a digest; expected sha256: and 64 hex digits")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The digest of `data`."""
        return cls("sha256:" + hashlib.sha256(data).hexdigest())

    @classmethod
    def from_hex(cls, hexdigest: str) -> Digest:
        """The digest whose hex part is `hexdigest`."""
        return cls("sha256:" + hexdigest)

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first 12 hex digits, as docker shows ids."""
        return self.hex[:12]


def chain_id(diff_ids: list[Digest]) -> Digest:
    """The chainID of a stack of layers, base first (image-spec config.md).

    Raises `ValueError` for an empty stack, which has no chainID.
    """
    if not diff_ids:
        raise ValueError("no layers, no chainID")
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = Digest.of(f"{chain} {diff_id}".encode())
    return chain


def _shown(text: str) -> str:
    """Hostile text, cut and escaped for a one-line message."""
    return repr(text if len(text) <= 100 else text[:100] + "…")
