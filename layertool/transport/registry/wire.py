"""One HTTP exchange: TLS, proxies, time limits and bounded bodies, and no policy at all.

urllib3 carries the bytes. Its redirects, retries and content decoding are off: where credentials
go, what is asked again and what a digest is taken over is decided one level up.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from layertool.errors import RegistryError
from layertool.transport.registry.endpoint import Trust, is_loopback, printable
from layertool.transport.registry.retry import TransientError

if TYPE_CHECKING:
    from urllib3 import PoolManager
    from urllib3.response import BaseHTTPResponse

_USER_AGENT = "layertool"
_CONNECTIONS = 8  # to one host; more only makes registries answer 429
_SEND_PIECE = 1 << 18  # bytes; urllib3's own 16 KiB costs a fifth of the speed of a push


class TlsError(RegistryError):
    """The TLS handshake failed: no certificate that we trust, or no TLS at the other end."""


class Unreachable(TransientError):
    """No connection could be made: nothing listens there, or nothing routes there."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to connect, and between two pieces of an answer; how slow an answer may be.

    A body that brings less than `least_rate` bytes a second over `patience` seconds counts as
    stalled: a time limit on single reads alone lets a server drip for ever. `document` bounds the
    whole of a small body.
    """

    connect: float = 15.0
    read: float = 60.0
    least_rate: float = 512.0
    patience: float = 60.0
    document: float = 60.0


class Answer:
    """A response whose body has not been read: `status`, `headers`, `url` and `read()`."""

    def __init__(self, response: BaseHTTPResponse, url: str, timeouts: Timeouts) -> None:
        self._response = response
        self._timeouts = timeouts
        self._waited = 0.0
        self._arrived = 0
        self.url = url
        self.status = response.status
        self.headers = response.headers

    def read(self, size: int) -> bytes:
        """Up to `size` bytes as they come, b"" at the end.

        Raises TransientError when the body is cut, or slower than the limits.
        """
        started = time.monotonic()
        with _network_errors(self.url):
            data = self._response.read1(size, decode_content=False)
        self._watch_rate(len(data), time.monotonic() - started)
        return data

    def document(self, limit: int) -> bytes:
        """The whole of a small body; RegistryError when it is longer than `limit` bytes."""
        deadline = time.monotonic() + self._timeouts.document
        pieces: list[bytes] = []
        left = limit
        try:
            while piece := self.read(min(left + 1, 65536)):
                left -= len(piece)
                if left < 0:
                    raise RegistryError(f"{self.url}: the answer is larger than {limit} bytes")
                if time.monotonic() > deadline:
                    raise TransientError(f"{self.url}: the answer takes too long")
                pieces.append(piece)
        finally:
            self.close()
        return b"".join(pieces)

    def abort(self) -> None:
        """End a read that is waiting in another thread."""
        try:
            self._response.shutdown()
        except (ValueError, RuntimeError, OSError):
            pass  # the body ended meanwhile

    def close(self) -> None:
        """Give the connection back when the body was read to its end, else cut it."""
        if self._response.length_remaining == 0:
            self._response.release_conn()
        else:
            self._response.close()

    def _watch_rate(self, size: int, waited: float) -> None:
        # Only time spent waiting for the server counts: a slow disk on our side is not its fault.
        self._waited += waited
        self._arrived += size
        if self._waited < self._timeouts.patience:
            return
        rate = self._arrived / self._waited
        self._waited, self._arrived = 0.0, 0
        if size and rate < self._timeouts.least_rate:
            self.close()
            raise TransientError(f"{self.url}: stalled at {rate:.0f} bytes a second")


class Wire:
    """Sends requests; one for a registry, shared by threads."""

    def __init__(self, trust: Trust, timeouts: Timeouts) -> None:
        self.trust = trust
        self._timeouts = timeouts
        self._tls = _tls_context(trust)
        self._pools: dict[str | None, PoolManager] = {}

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | IO[bytes] | None = None,
    ) -> Answer:
        """The answer to one request, whatever its status; redirects are not followed.

        Raises TransientError for a network failure that may pass (Unreachable when not even a
        connection was made), TlsError for a failed handshake.
        """
        with _network_errors(url):
            response = self._pool(url).urlopen(
                method,
                url,
                body=body,
                # identity, or a proxy's gzip is what the digest would be taken over
                headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        return Answer(response, url, self._timeouts)

    def close(self) -> None:
        """Close idle connections."""
        for pool in self._pools.values():
            pool.clear()

    def _pool(self, url: str) -> PoolManager:
        proxy = proxy_for(url)
        pool = self._pools.get(proxy)
        if pool is None:
            # Two threads may both make one; the loser's is dropped before it has connections.
            pool = self._pools.setdefault(proxy, self._make_pool(proxy))
        return pool

    def _make_pool(self, proxy: str | None) -> PoolManager:
        import urllib3

        if not self.trust.verify:
            # The user has said so; a Python warning for each connection tells nobody more.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        timeout = urllib3.Timeout(connect=self._timeouts.connect, read=self._timeouts.read)
        if proxy is None:
            return urllib3.PoolManager(
                maxsize=_CONNECTIONS,
                timeout=timeout,
                ssl_context=self._tls,
                blocksize=_SEND_PIECE,
            )
        return urllib3.ProxyManager(
            proxy,
            maxsize=_CONNECTIONS,
            timeout=timeout,
            ssl_context=self._tls,
            blocksize=_SEND_PIECE,
        )


def _tls_context(trust: Trust) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if trust.ca is not None:
        try:
            context.load_verify_locations(cafile=trust.ca)
        except (OSError, ssl.SSLError) as error:
            raise RegistryError(
                f"{trust.ca}: not usable as a CA file ({error}); give PEM certificates"
            ) from error
    return context


def proxy_for(url: str) -> str | None:
    """The proxy that the environment sets for `url` (http_proxy, https_proxy, no_proxy)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return getproxies().get(parts.scheme)


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    """urllib3's exceptions as one-line errors of ours, sorted into lasting and passing ones."""
    from urllib3 import exceptions

    where = urlsplit(url).netloc
    try:
        yield
    except exceptions.SSLError as error:
        raise _tls_failure(where, error) from error
    except exceptions.NameResolutionError as error:
        if _lookup_may_work_later(error):
            raise TransientError(f"{where}: the name server does not answer") from error
        raise Unreachable(f"{where}: host not found; check the registry's name") from error
    except exceptions.NewConnectionError as error:
        raise Unreachable(f"{where}: cannot connect: {reason(error)}") from error
    except exceptions.ConnectTimeoutError as error:
        raise Unreachable(f"{where}: cannot connect: no answer") from error
    except exceptions.TimeoutError as error:
        raise TransientError(f"{where}: no data for too long") from error
    except exceptions.ProxyError as error:
        raise TransientError(f"{where}: the proxy failed: {reason(error)}") from error
    except exceptions.HTTPError as error:
        raise TransientError(f"{where}: connection lost: {reason(error)}") from error
    except OSError as error:
        raise TransientError(f"{where}: connection lost: {reason(error)}") from error


def _lookup_may_work_later(error: Exception) -> bool:
    """Whether it is the name server that failed, and not the name that does not exist."""
    cause = error.__cause__ or error.__context__
    return isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN


def _tls_failure(where: str, error: Exception) -> RegistryError:
    cause = error.args[0] if error.args else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TlsError(
            f"{where}: certificate not trusted: {cause.verify_message}; give its CA with --ca FILE"
        )
    if isinstance(cause, ssl.SSLEOFError):
        return TransientError(f"{where}: connection lost in TLS")
    return TlsError(f"{where}: TLS failed: {printable(str(cause))}")


def reason(error: Exception) -> str:
    """The innermost words of an exception: urllib3 wraps ours in object addresses."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return printable(str(cause))
