"""Requests to one registry: credentials, redirects, retries and errors in one place.

Source: the OCI distribution specification 1.1. What a caller sees is an Answer with one of the
statuses it expects, or one line that says what the registry said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO
from urllib.parse import urlsplit

import msgspec

from layertool.errors import NotFound, RegistryError
from layertool.transport.registry.auth import Authenticator, AuthError
from layertool.transport.registry.challenge import parse_challenges
from layertool.transport.registry.credentials import Credentials, find_credentials
from layertool.transport.registry.endpoint import (
    Trust,
    api_host,
    domain_is_loopback,
    follow,
    origin,
    printable,
)
from layertool.transport.registry.retry import (
    RETRYABLE,
    Retry,
    TransientError,
    parse_retry_after,
)
from layertool.transport.registry.wire import Answer, Timeouts, TlsError, Unreachable, Wire

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_ERROR_BODY = 64 << 10  # bytes
_PING_BODY = 64 << 10

# Opens the body of a request afresh: it is sent again after a 401 or a cut connection.
Body = Callable[[], IO[bytes]]


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose about talking to registries."""

    trust: Trust = field(default_factory=Trust)
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: Retry = field(default_factory=Retry)
    credentials: Callable[[str, str], Credentials | None] = find_credentials

    def telling(self, notice: Callable[[str], None]) -> Options:
        """The same for one piece of work: retries are told to `notice`, and it can be stopped."""
        return replace(self, retry=replace(self.retry, notice=notice, stop=threading.Event()))


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _ErrorBody(msgspec.Struct):
    errors: list[_Error] = []


class Client:
    """One registry (`host[:port]`, or docker.io) and, for its credentials, one repository.

    Threads may share a client: connections are pooled and one token serves all of them.
    """

    def __init__(self, domain: str, repository: str = "", options: Options | None = None) -> None:
        self.domain = domain
        self.options = options or Options()
        self._wire = Wire(self.options.trust, self.options.timeouts)
        self._auth = Authenticator(
            self._wire, domain, lambda: self.options.credentials(domain, repository)
        )
        self._base: str | None = None
        self._lock = threading.Lock()

    @property
    def retry(self) -> Retry:
        return self.options.retry

    def call(
        self,
        method: str,
        target: str,
        *,
        what: str,
        scopes: Sequence[str] = (),
        expect: Sequence[int] = (200,),
        headers: Mapping[str, str] | None = None,
        body: bytes | Body | None = None,
    ) -> Answer:
        """The answer with a status in `expect`, after as many tries as the retry policy allows.

        `target` is a path below the registry or an absolute URL; `what` names the thing asked for
        in errors. Raises NotFound for a 404, AuthError, RegistryError.
        """
        return self.retry.run(
            lambda: self.call_once(
                method,
                target,
                what=what,
                scopes=scopes,
                expect=expect,
                headers=headers,
                body=body,
            )
        )

    def call_once(
        self,
        method: str,
        target: str,
        *,
        what: str,
        scopes: Sequence[str] = (),
        expect: Sequence[int] = (200,),
        headers: Mapping[str, str] | None = None,
        body: bytes | Body | None = None,
    ) -> Answer:
        """As `call`, but one try: TransientError is the caller's to handle."""
        url = target if "://" in target else self.base + target
        answer = self._authorized(method, url, scopes, headers or {}, body)
        if answer.status in expect:
            return answer
        raise self._failure(answer, what, redirected=origin(answer.url) != origin(url))

    def document(
        self,
        target: str,
        limit: int,
        *,
        what: str,
        scopes: Sequence[str],
        headers: Mapping[str, str] | None = None,
    ) -> tuple[bytes, str | None]:
        """A body of at most `limit` bytes and its Content-Type; a cut one is asked again."""

        def fetch() -> tuple[bytes, str | None]:
            answer = self.call_once("GET", target, what=what, scopes=scopes, headers=headers)
            return answer.document(limit), answer.headers.get("Content-Type")

        return self.retry.run(fetch)

    def check_login(self) -> None:
        """Prove that the registry takes our credentials. Raises AuthError when it does not."""
        answer = self._authorized("GET", f"{self.base}/v2/", (), {}, None)
        if answer.status != 200:
            raise self._failure(answer, self.domain, redirected=False)
        answer.document(_PING_BODY)

    @property
    def base(self) -> str:
        """`scheme://host`: found out on the first use."""
        with self._lock:
            if self._base is None:
                try:
                    self._base = self._first_contact()
                except Unreachable as failure:
                    # Nothing has ever answered there: a wrong name or port, not a bad moment.
                    raise RegistryError(str(failure)) from failure
            return self._base

    def close(self) -> None:
        """Close idle connections."""
        self._wire.close()

    def _first_contact(self) -> str:
        """Https, except where plain HTTP is allowed and is what answers.

        A registry on this machine mostly has no TLS, and asking it in clear gives nothing away, so
        there plain HTTP is tried first: a plain server may hang on a TLS hello. Elsewhere TLS comes
        first and --tls-verify=false allows the step down.
        """
        host = api_host(self.domain)
        secure, plain = f"https://{host}", f"http://{host}"
        if domain_is_loopback(self.domain):
            return plain if self._speaks_plain(plain) else self._pinged(secure)
        if self.options.trust.verify:
            return self._pinged(secure)
        try:
            return self._pinged(secure)
        except (TlsError, TransientError) as failure:
            try:
                return self._pinged(plain)
            except TransientError:
                raise failure from None

    def _pinged(self, base: str) -> str:
        self._ping(base)
        return base

    def _ping(self, base: str) -> tuple[int, bytes]:
        answer = self._wire.send("GET", f"{base}/v2/", {})
        return answer.status, answer.document(_PING_BODY)

    def _speaks_plain(self, base: str) -> bool:
        try:
            status, body = self._ping(base)
        except Unreachable:
            raise
        except TransientError:
            return False  # a TLS server hangs up on a request in clear …
        return not (status == 400 and b"HTTPS" in body.upper())  # … or says what it wants

    def _authorized(
        self,
        method: str,
        url: str,
        scopes: Sequence[str],
        headers: Mapping[str, str],
        body: bytes | Body | None,
    ) -> Answer:
        """The answer with the best credentials we have for `scopes`."""
        authorization = self._auth.header(scopes)
        # Twice: the first challenge, and one for a token that has grown old or is too narrow.
        for _ in range(2):
            answer = self._redirected(method, url, headers, authorization, body)
            # A 401 of a host that we were sent to is no reason to show it credentials.
            if answer.status != 401 or not self._is_ours(answer.url):
                return answer
            challenges = parse_challenges(answer.headers.getlist("WWW-Authenticate"))
            answered = self._auth.answer(self.base, challenges, scopes, authorization)
            if answered is None:
                return answer
            answer.document(_ERROR_BODY)
            authorization = answered
        return self._redirected(method, url, headers, authorization, body)

    def _redirected(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        authorization: str | None,
        body: bytes | Body | None,
    ) -> Answer:
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._send(method, url, headers, authorization, body)
            location = answer.headers.get("Location")
            # Only what has no body is sent on: an upload goes where the registry's own answer to
            # POST said, nowhere else.
            if answer.status not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
                return answer
            answer.close()
            url = follow(url, location, self.options.trust)
        raise RegistryError(f"{self.domain}: more than {_MOST_REDIRECTS} redirects")

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        authorization: str | None,
        body: bytes | Body | None,
    ) -> Answer:
        sent = dict(headers)
        if authorization is not None and self._is_ours(url):
            sent["Authorization"] = authorization
        if callable(body):
            with body() as opened:
                return self._wire.send(method, url, sent, opened)
        return self._wire.send(method, url, sent, body)

    def _is_ours(self, url: str) -> bool:
        """Whether credentials for this registry may go to `url`: same scheme, host and port."""
        return origin(url) == origin(self.base)

    def _failure(self, answer: Answer, what: str, *, redirected: bool) -> RegistryError | NotFound:
        """The error that a status means, in the registry's words where it has some."""
        status, said = answer.status, _said(answer)
        where = urlsplit(answer.url).netloc if redirected else self.domain
        message = f"{what}: {where} answered {status}{said}"
        if status in RETRYABLE:
            return TransientError(
                message, retry_after=parse_retry_after(answer.headers.get("Retry-After"))
            )
        if redirected and status == 403:
            # Signed addresses grow old; the registry makes a new one when it is asked again.
            return TransientError(message)
        if status in (401, 403):
            who = f"as {self._auth.username}" if self._auth.username else "without a login"
            return AuthError(
                f"{what}: access denied by {where} {who}{said}; run layertool login {self.domain}"
            )
        if status == 404:
            return NotFound(f"{what}: not found on {where}{said}")
        return StatusError(message, status)


class StatusError(RegistryError):
    """A status that no rule above covers; `status` for callers that know more."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def _said(answer: Answer) -> str:
    """` (CODE: message)` from an error body, "" when there is none that can be read."""
    try:
        body = msgspec.json.decode(answer.document(_ERROR_BODY), type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RegistryError):
        return ""
    if not body.errors:
        return ""
    first = body.errors[0]
    return f" ({printable(': '.join(filter(None, [first.code, first.message])))})"
