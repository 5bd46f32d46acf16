"""Where a registry answers, and which hosts may be spoken to without TLS."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

from layertool.errors import RegistryError

DOCKER_HUB = "docker.io"
# The name in references, the host of the API and the key in credential files are three things for
# Docker Hub alone.
_DOCKER_HUB_API = "registry-1.docker.io"
_DOCKER_HUB_ALIASES = frozenset({"docker.io", "index.docker.io", _DOCKER_HUB_API})

# host or host:port, host possibly an IPv6 address in brackets
_DOMAIN = re.compile(
    r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}))(?::\d{1,5})?"
)


@dataclass(frozen=True, slots=True)
class Trust:
    """What the user said about TLS: check certificates or not, and one more CA file (PEM)."""

    verify: bool = True
    ca: Path | None = None


def parse_domain(text: str) -> str:
    """The registry that a user or a reference names: `host[:port]`; docker.io by its aliases too.

    Raises RegistryError for anything else, a URL or a repository for example.
    """
    if not _DOMAIN.fullmatch(text):
        raise RegistryError(f"{text}: not a registry name; write HOST or HOST:PORT")
    return DOCKER_HUB if text in _DOCKER_HUB_ALIASES else text


def api_host(domain: str) -> str:
    """The host[:port] that serves the registry API of `domain`."""
    return _DOCKER_HUB_API if domain == DOCKER_HUB else domain


def is_loopback(host: str) -> bool:
    """Whether a host name (without port) can only mean this machine."""
    host = host.strip("[]")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 6.3
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def domain_is_loopback(domain: str) -> bool:
    """Whether a registry `host[:port]` is on this machine."""
    return is_loopback(urlsplit(f"//{domain}").hostname or "")


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: credentials that were made for one origin never go to another."""
    parts = _split(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname or "", port


def follow(base: str, location: str, trust: Trust) -> str:
    """The absolute URL that a Location header of `base` means.

    Raises RegistryError for what a hostile or broken server may write there: another scheme, a
    step from TLS down to plain HTTP, or plain HTTP to a host where the user did not allow it.
    """
    if any(character <= " " or character == "\x7f" for character in location):
        raise RegistryError(f"{base}: the Location header has spaces or control characters")
    try:
        url = urljoin(base, location)
    except ValueError as error:
        raise RegistryError(f"{base}: the Location header is not an address: {error}") from error
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RegistryError(
            f"{base}: refused to follow it to {printable(url)}: not an HTTP address"
        )
    if parts.username is not None or parts.password is not None:
        raise RegistryError(f"{base}: refused to follow it to an address with a user name in it")
    if parts.scheme == "http":
        _check_plain(base, parts, trust)
    return url


def _check_plain(base: str, target: SplitResult, trust: Trust) -> None:
    if urlsplit(base).scheme == "https":
        raise RegistryError(f"{base}: refused to follow it from https down to plain http")
    if trust.verify and not is_loopback(target.hostname or ""):
        raise RegistryError(
            f"{base}: refused to follow it to {target.netloc} over plain http; "
            "--tls-verify=false allows that"
        )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (a port that is not a number shows only when it is read)
    except ValueError as error:
        raise RegistryError(f"{printable(url)}: not an address: {error}") from error
    return parts


def printable(text: str, limit: int = 300) -> str:
    """A stranger's text made safe for one line of a terminal: no controls, no endless lines."""
    line = "".join(c if c.isprintable() else " " for c in text[: limit + 1])
    line = " ".join(line.split())
    return line if len(line) <= limit else line[:limit] + "…"
