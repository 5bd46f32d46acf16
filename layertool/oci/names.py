"""Image references, by the grammar of the distribution project and docker's defaults.

    [domain[:port]/]path[:tag][@digest]

`debian` means `docker.io/library/debian:latest`; people are shown the familiar form again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from layertool.errors import BadDigest, BadImage
from layertool.oci.digest import Digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_OFFICIAL = "library/"
_MAX_NAME = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, order=True)
class Reference:
    """A complete reference: domain and path always, a tag or a digest or both."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read `text` as docker does. Raises `BadImage`, saying which part is wrong."""
        if _IMAGE_ID.fullmatch(text):
            raise BadImage(f"{text}: is an image id, not a name")
        rest, digest = _split_digest(text)
        name, tag = _split_tag(rest)
        domain, path = _split_domain(name)
        _check(text, domain, path, tag)
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(domain, path, tag, digest)

    @property
    def name(self) -> str:
        """`docker.io/library/debian`: no tag, no digest."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """`debian`: the name as people type it."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        # `docker.io/library/a/b` is not `a/b`, which would mean `docker.io/a/b`.
        return self.path if "/" in short else short

    @property
    def familiar(self) -> str:
        """`debian:latest`: what people are shown."""
        return self.familiar_name + self._suffix()

    def with_tag(self, tag: str) -> Reference:
        """The same name under `tag`, without a digest. Raises `BadImage`."""
        if not _TAG.fullmatch(tag):
            raise BadImage(f"{tag!r}: not a tag")
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same name, pinned to `digest`."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return tag + (f"@{self.digest}" if self.digest is not None else "")


def _split_digest(text: str) -> tuple[str, Digest | None]:
    rest, separator, digest = text.partition("@")
    if not separator:
        return rest, None
    try:
        return rest, Digest(digest)
    except BadDigest as error:
        raise BadImage(f"{text[:300]!r}: not an image name: {error}") from None


def _split_tag(text: str) -> tuple[str, str | None]:
    """A colon after the last slash starts the tag; one before it belongs to the port."""
    name, separator, tag = text.rpartition(":")
    if not separator or "/" in tag:
        return text, None
    return name, tag


def _split_domain(name: str) -> tuple[str, str]:
    """The first part is a domain only when it cannot be the start of a docker.io path."""
    first, slash, rest = name.partition("/")
    looks_like_domain = "." in first or ":" in first or first == "localhost"
    if slash and (looks_like_domain or first != first.lower()):
        domain, path = first, rest
    else:
        domain, path = DEFAULT_DOMAIN, name
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = _OFFICIAL + path
    return domain, path


def _check(text: str, domain: str, path: str, tag: str | None) -> None:
    shown = repr(text if len(text) <= 300 else text[:300] + "…")
    if not _DOMAIN.fullmatch(domain):
        raise BadImage(f"{shown}: not an image name: bad registry {domain[:80]!r}")
    if path != path.lower():
        raise BadImage(f"{shown}: not an image name: repository names are lower case")
    if not _PATH.fullmatch(path):
        raise BadImage(f"{shown}: not an image name: bad repository")
    if tag is not None and not _TAG.fullmatch(tag):
        raise BadImage(f"{shown}: not an image name: bad tag {tag[:80]!r}")
    if len(domain) + 1 + len(path) > _MAX_NAME:
        raise BadImage(f"{shown}: not an image name: longer than {_MAX_NAME} characters")
