"""Answers to 401: Basic, or a bearer token from the registry's token server.

Source: the distribution project's token authentication specification (docs "Token Authentication
Specification" and "OAuth2"), RFC 6750, RFC 7617.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from layertool.errors import RegistryError
from layertool.transport.registry.challenge import Challenge
from layertool.transport.registry.credentials import Credentials
from layertool.transport.registry.endpoint import follow, printable
from layertool.transport.registry.retry import RETRYABLE, TransientError, parse_retry_after
from layertool.transport.registry.wire import Answer, Wire

_CLIENT_ID = "layertool"
_TOKEN_BODY = 64 << 10  # bytes; CVE-2020-1702 was an unbounded one
_LEAST_LIFE = 60.0  # seconds; what the specification gives to a token without expires_in
_MARGIN = 5.0  # seconds before its end when a token counts as old


class AuthError(RegistryError):
    """The registry or its token server does not let us in."""


class _TokenBody(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    expires: float  # time.monotonic() seconds


class Authenticator:
    """Authorization headers for one registry; may be used by several threads.

    `find` gives the user's credentials; it runs when the registry first asks, as it may start a
    helper program.
    """

    def __init__(self, wire: Wire, domain: str, find: Callable[[], Credentials | None]) -> None:
        self._wire = wire
        self._domain = domain
        self._find = find
        self._lock = threading.Lock()
        self._found = False
        self._credentials: Credentials | None = None
        self._basic: str | None = None
        self._tokens: dict[tuple[str, ...], _Token] = {}

    def header(self, scopes: Sequence[str]) -> str | None:
        """The Authorization header to start with: what the registry was content with before."""
        token = self._tokens.get(tuple(scopes))
        if token is not None and token.expires > time.monotonic():
            return token.header
        return self._basic

    def answer(
        self, url: str, challenges: Sequence[Challenge], scopes: Sequence[str], refused: str | None
    ) -> str | None:
        """The header that meets a challenge; None when there is nothing (else) to offer.

        `url` asked, for `scopes`, and `refused` is the header it did not take.
        """
        with self._lock:
            # Three layers start at once and are asked at once: one token serves them all.
            current = self.header(scopes)
            if current is not None and current != refused:
                return current
            for challenge in challenges:
                if challenge.scheme == "bearer":
                    return self._bearer(url, challenge, scopes)
            if any(challenge.scheme == "basic" for challenge in challenges):
                return self._answer_basic(refused)
        return None

    @property
    def username(self) -> str | None:
        """Who we are to the registry, None for anonymous."""
        credentials = self._known_credentials()
        return credentials.username or None if credentials else None

    def _known_credentials(self) -> Credentials | None:
        if not self._found:
            self._credentials = self._find()
            self._found = True
        return self._credentials

    def _answer_basic(self, refused: str | None) -> str | None:
        credentials = self._known_credentials()
        if credentials is None or not credentials.username or credentials.basic == refused:
            return None
        self._basic = credentials.basic
        return self._basic

    def _bearer(self, url: str, challenge: Challenge, scopes: Sequence[str]) -> str | None:
        credentials = self._known_credentials()
        if credentials is not None and credentials.registry_token:
            header = f"Bearer {credentials.registry_token}"
            self._tokens[tuple(scopes)] = _Token(header, time.monotonic() + _LEAST_LIFE)
            return header
        token = self._fetch(url, challenge, _wanted(challenge, scopes), credentials)
        self._tokens[tuple(scopes)] = token
        return token.header

    def _fetch(
        self,
        url: str,
        challenge: Challenge,
        scopes: Sequence[str],
        credentials: Credentials | None,
    ) -> _Token:
        realm = challenge.parameters.get("realm", "")
        if not realm:
            raise RegistryError(f"{self._domain}: asks for a token, but not where to get it")
        # The realm is the registry's word: it may not take a password off TLS.
        server = follow(url, realm, self._wire.trust)
        service = challenge.parameters.get("service", "")
        asked = time.monotonic()
        if credentials is not None and credentials.identity_token:
            answer = self._post(server, service, scopes, credentials.identity_token)
        else:
            answer = self._get(server, service, scopes, credentials)
        return self._read(server, answer, asked, known=credentials is not None)

    def _get(
        self, server: str, service: str, scopes: Sequence[str], credentials: Credentials | None
    ) -> Answer:
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        headers: dict[str, str] = {}
        if credentials is not None and credentials.username:
            query.append(("account", credentials.username))
            headers["Authorization"] = credentials.basic
        return self._wire.send("GET", _with_query(server, query), headers)

    def _post(self, server: str, service: str, scopes: Sequence[str], refresh: str) -> Answer:
        form = {
            "grant_type": "refresh_token",
            "service": service,
            "client_id": _CLIENT_ID,
            "scope": " ".join(scopes),
            "refresh_token": refresh,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._wire.send("POST", server, headers, urlencode(form).encode())

    def _read(self, server: str, answer: Answer, asked: float, *, known: bool) -> _Token:
        where = urlsplit(server).netloc
        raw = answer.document(_TOKEN_BODY)
        if answer.status in (401, 403):
            what = "refused the user name or password" if known else "gives no token to anonymous"
            raise AuthError(f"{self._domain}: {where} {what}; run layertool login {self._domain}")
        if answer.status in RETRYABLE:
            raise TransientError(
                f"{where}: token server answered {answer.status}",
                retry_after=parse_retry_after(answer.headers.get("Retry-After")),
            )
        if answer.status != 200:
            raise RegistryError(f"{where}: token server answered {answer.status}")
        try:
            body = msgspec.json.decode(raw, type=_TokenBody)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RegistryError(f"{where}: token server's answer is not a token") from error
        token = body.token or body.access_token
        if not token or printable(token, _TOKEN_BODY) != token or not token.isascii():
            raise RegistryError(f"{where}: token server's answer has no usable token")
        # Our clock, not issued_at: the two machines may not agree on the time.
        life = max(body.expires_in or _LEAST_LIFE, _LEAST_LIFE) - _MARGIN
        return _Token(f"Bearer {token}", asked + life)


def _wanted(challenge: Challenge, scopes: Sequence[str]) -> list[str]:
    """The scopes to ask for: the registry's, and ours, which know about pushes and mounts to come.

    A registry with scopes of its own kind (ECR public wants "aws") gets those alone.
    """
    own_kind = challenge.scopes and not any(
        scope.startswith("repository:") for scope in challenge.scopes
    )
    return challenge.scopes if own_kind else merge_scopes([*challenge.scopes, *scopes])


def merge_scopes(scopes: Iterable[str]) -> list[str]:
    """Scopes without duplicates; actions on the same resource together.

    "repository:a:pull" and "repository:a:pull,push" become "repository:a:pull,push".
    """
    actions: dict[str, list[str]] = {}
    for scope in scopes:
        resource, separator, listed = scope.rpartition(":")
        key = resource if separator else scope
        known = actions.setdefault(key, [])
        if separator:
            known.extend(action for action in listed.split(",") if action not in known)
    return [
        f"{resource}:{','.join(known)}" if known else resource
        for resource, known in actions.items()
    ]


def _with_query(url: str, more: Sequence[tuple[str, str]]) -> str:
    parts = urlsplit(url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *more])
    return urlunsplit(parts._replace(query=query, fragment=""))
