"""ADD from a URL."""

from __future__ import annotations

import calendar
import contextlib
import email.utils
import hashlib
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from layertool.build.filehash import FileHashes
from layertool.errors import BadDigest, LayertoolError
from layertool.transport.registry import wire

if TYPE_CHECKING:
    from urllib3 import PoolManager
    from urllib3.response import BaseHTTPResponse

# A server that sends for ever must end somewhere; larger things belong in an image.
MAX_DOWNLOAD = 32 << 30  # bytes
_CHUNK = 1 << 20
_REDIRECTS = 10


@dataclass(frozen=True, slots=True)
class Remote:
    """What a URL serves now. `path` is None when it was not fetched, as nothing changed."""

    url: str
    digest: str  # sha256:…
    mtime_ns: int | None
    path: Path | None


def file_name(url: str) -> str | None:
    """The name a download gets in a directory; None when the URL ends in none."""
    name = posixpath.basename(unquote(urlsplit(url).path))
    return name if name not in ("", ".", "..") and "\0" not in name else None


def check(url: str, room: Path, hashes: FileHashes, checksum: str | None) -> Remote:
    """Ask whether a URL still serves what it did, and download it when not.

    The answer is remembered with the server's ETag or Last-Modified; without either it is fetched
    each time. Raises LayertoolError, BadDigest.
    """
    note = f"url:{url}"
    known = _known(url, hashes.note(note))
    headers = {}
    if known is not None and checksum in (None, known.remote.digest):
        headers = known.conditions
    with _get(url, headers) as response:
        if response.status == 304 and known is not None:
            return known.remote
        remote = _download(url, response, room, checksum)
        conditions = _conditions(response)
    if conditions:
        fields = [remote.digest, remote.mtime_ns, conditions]
        hashes.set_note(note, json.dumps(fields).encode())
    return remote


def fetch(remote: Remote, room: Path) -> Path:
    """The file of something checked earlier. Raises LayertoolError when it changed meanwhile."""
    if remote.path is not None:
        return remote.path
    with _get(remote.url, {}) as response:
        again = _download(remote.url, response, room, remote.digest)
    if again.path is None:
        raise LayertoolError(f"{remote.url}: nothing was downloaded")
    return again.path


@dataclass(frozen=True, slots=True)
class _Known:
    remote: Remote
    conditions: dict[str, str]


def _known(url: str, note: bytes | None) -> _Known | None:
    if note is None:
        return None
    digest, mtime_ns, conditions = json.loads(note)
    return _Known(Remote(url, digest, mtime_ns, None), conditions)


@contextlib.contextmanager
def _get(url: str, headers: dict[str, str]) -> Iterator[BaseHTTPResponse]:
    import urllib3  # importing it takes 150 ms, and few builds fetch anything

    timeout = urllib3.Timeout(connect=30, read=60)
    retries = urllib3.Retry(total=3, redirect=_REDIRECTS, backoff_factor=0.5)
    with _pool(url, timeout=timeout, retries=retries) as pool:
        try:
            headers = {"Accept-Encoding": "identity", "User-Agent": "layertool", **headers}
            response = pool.request("GET", url, headers=headers, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise LayertoolError(f"{url}: {wire.reason(error)}") from None
        try:
            if response.status not in (200, 304):
                raise LayertoolError(f"{url}: the server answers {response.status}")
            yield response
        except urllib3.exceptions.HTTPError as error:
            raise LayertoolError(f"{url}: {wire.reason(error)}") from None
        finally:
            response.close()


def _pool(url: str, **settings: Any) -> PoolManager:
    """Connections to the server of `url`, through the proxy that the environment asks for."""
    import urllib3

    proxy = wire.proxy_for(url)
    if proxy is None:
        return urllib3.PoolManager(**settings)
    return urllib3.ProxyManager(proxy, **settings)


def _download(url: str, response: BaseHTTPResponse, room: Path, checksum: str | None) -> Remote:
    room.mkdir(exist_ok=True)
    path = room / hashlib.sha256(url.encode()).hexdigest()
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("wb") as file:
            while chunk := response.read(_CHUNK):
                size += len(chunk)
                if size > MAX_DOWNLOAD:
                    raise LayertoolError(f"{url}: more than {MAX_DOWNLOAD} bytes")
                digest.update(chunk)
                file.write(chunk)
    except OSError as error:
        raise LayertoolError(f"{url}: cannot store the download: {error.strerror}") from None
    actual = f"sha256:{digest.hexdigest()}"
    if checksum is not None and actual != checksum:
        path.unlink()
        raise BadDigest.mismatch(url, checksum, actual)
    return Remote(url, actual, _mtime(response), path)


def _conditions(response: BaseHTTPResponse) -> dict[str, str]:
    etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
    if etag:
        return {"If-None-Match": etag}
    return {"If-Modified-Since": modified} if modified else {}


def _mtime(response: BaseHTTPResponse) -> int | None:
    """Last-Modified in ns since the epoch."""
    parsed = email.utils.parsedate(response.headers.get("Last-Modified", ""))
    if parsed is None:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        return max(0, calendar.timegm(parsed)) * 10**9
    return None
