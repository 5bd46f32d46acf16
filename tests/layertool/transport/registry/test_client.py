"""Credentials, redirects, retries and limits against a server that misbehaves."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from registrytest.fake import FakeRegistry, cut, drip, endless, error
from registrytest.options import quick_options
from werkzeug import Request, Response

from layertool.errors import NotFound, RegistryError
from layertool.transport.registry.auth import AuthError, merge_scopes
from layertool.transport.registry.client import Client, Options
from layertool.transport.registry.credentials import Credentials
from layertool.transport.registry.endpoint import Trust
from layertool.transport.registry.retry import TransientError
from layertool.transport.registry.wire import TlsError

PULL = ("repository:app:pull",)
PUSH = ("repository:app:pull,push",)
ME = Credentials("me", "pass:word")


def get(client: Client, path: str = "/v2/app/manifests/1", limit: int = 1000) -> bytes:
    return client.document(path, limit, what="app:1", scopes=PULL)[0]


class TokenServer:
    """Asks for bearer tokens on /v2/…, hands them out on /token; remembers what it was asked."""

    def __init__(self, fake: FakeRegistry, *, password: str | None = None) -> None:
        self.fake = fake
        self.password = password
        self.valid: dict[str, set[str]] = {}
        self.asked: list[dict[str, list[str]]] = []
        self.answer: dict[str, object] = {}
        self.scope_of_challenge = "repository:app:{actions}"
        self.realm = f"{fake.url}/token"
        fake.faults.append(self.token)
        fake.faults.append(self.guard)

    def token(self, request: Request) -> Response | None:
        if request.path != "/token":
            return None
        pairs = parse_qsl(request.query_string.decode()) + list(request.form.items(multi=True))
        asked: dict[str, list[str]] = {}
        for name, value in pairs:
            asked.setdefault(name, []).append(value)
        self.asked.append(asked)
        if self.password is not None:
            sent = request.authorization
            if sent is None or sent.password != self.password:
                return error(401, "UNAUTHORIZED")
        token = f"token-{len(self.asked)}"
        self.valid[token] = {
            f"{scope.rpartition(':')[0]}:{action}"
            for scope in " ".join(asked.get("scope", [])).split()
            for action in scope.rpartition(":")[2].split(",")
        }
        return Response(json.dumps(self.answer or {"token": token}), 200)

    def guard(self, request: Request) -> Response | None:
        action = "pull" if request.method in ("GET", "HEAD") else "push"
        held = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if f"repository:app:{action}" in self.valid.get(held, set()):
            return None
        actions = "pull" if action == "pull" else "pull,push"
        scope = self.scope_of_challenge.format(actions=actions)
        challenge = f'Bearer realm="{self.realm}",service="svc",scope="{scope}"'
        return error(401, "UNAUTHORIZED", WWW_Authenticate=challenge)


@pytest.fixture(autouse=True)
def content(fake: FakeRegistry) -> None:
    fake.add_manifest("app", "1", b"manifest", "text/plain")


def test_anonymous(fake: FakeRegistry, client: Client) -> None:
    assert get(client) == b"manifest"
    assert all(seen.authorization is None for seen in fake.seen)


def test_anonymous_token_dance_once_for_many_requests(fake: FakeRegistry) -> None:
    tokens = TokenServer(fake)
    client = Client(fake.domain, "app", quick_options())
    for _ in range(3):
        assert get(client) == b"manifest"
    assert tokens.asked == [{"service": ["svc"], "scope": ["repository:app:pull"]}]


def test_threads_share_one_token(fake: FakeRegistry) -> None:
    tokens = TokenServer(fake)
    client = Client(fake.domain, "app", quick_options())
    threads = [threading.Thread(target=get, args=(client,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens.asked) == 1
    assert len(fake.requests("GET /v2/app/manifests/1")) >= 7


def test_token_with_password_and_account(fake: FakeRegistry) -> None:
    tokens = TokenServer(fake, password="pass:word")
    assert get(Client(fake.domain, "app", quick_options(ME))) == b"manifest"
    assert tokens.asked[0]["account"] == ["me"]
    # The password went to the token server, never to the registry's own paths.
    basic = "Basic " + base64.b64encode(b"me:pass:word").decode()
    assert {seen.path for seen in fake.seen if seen.authorization == basic} == {"/token"}


@pytest.mark.parametrize("credentials", [None, Credentials("me", "wrong")])
def test_token_refused(fake: FakeRegistry, credentials: Credentials | None) -> None:
    TokenServer(fake, password="right")
    with pytest.raises(AuthError, match=f"run layertool login {fake.domain}"):
        get(Client(fake.domain, "app", quick_options(credentials)))


def test_access_token_is_taken_too(fake: FakeRegistry) -> None:
    tokens = TokenServer(fake)
    tokens.answer = {"access_token": "token-1", "expires_in": 300, "issued_at": "1999-01-01"}
    assert get(Client(fake.domain, "app", quick_options())) == b"manifest"


def test_identity_token_is_traded_by_post(fake: FakeRegistry) -> None:
    tokens = TokenServer(fake)
    client = Client(fake.domain, "app", quick_options(Credentials(identity_token="I am")))
    assert get(client) == b"manifest"
    assert tokens.asked[0]["grant_type"] == ["refresh_token"]
    assert tokens.asked[0]["refresh_token"] == ["I am"]
    assert [seen.method for seen in fake.requests("/token")] == ["POST"]
    assert all("I am" not in seen.query for seen in fake.seen)


def test_registry_token_needs_no_token_server(fake: FakeRegistry) -> None:
    tokens = TokenServer(fake)
    tokens.valid["ready"] = {"repository:app:pull"}
    client = Client(fake.domain, "app", quick_options(Credentials(registry_token="ready")))
    assert get(client) == b"manifest"
    assert tokens.asked == []


def test_a_token_that_is_too_narrow_is_replaced(fake: FakeRegistry) -> None:
    tokens = TokenServer(fake)
    client = Client(fake.domain, "app", quick_options())
    get(client)
    client.call("POST", "/v2/app/blobs/uploads/", what="x", scopes=PUSH, expect=(202,), body=b"")
    assert tokens.asked[-1]["scope"] == ["repository:app:pull,push"]


def test_a_token_that_grew_old_is_replaced(fake: FakeRegistry) -> None:
    tokens = TokenServer(fake)
    client = Client(fake.domain, "app", quick_options())
    get(client)
    tokens.valid.clear()
    assert get(client) == b"manifest"
    assert len(tokens.asked) == 2


def test_a_registry_that_takes_no_token_is_not_asked_for_ever(fake: FakeRegistry) -> None:
    tokens = TokenServer(fake)
    tokens.answer = {"token": "worthless"}
    with pytest.raises(AuthError, match="access denied"):
        get(Client(fake.domain, "app", quick_options()))
    assert len(fake.seen) < 8


def test_scopes_of_another_kind_are_sent_alone(fake: FakeRegistry) -> None:
    tokens = TokenServer(fake)
    tokens.scope_of_challenge = "aws"
    with pytest.raises(AuthError):
        get(Client(fake.domain, "app", quick_options()))
    assert tokens.asked[0]["scope"] == ["aws"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        {"token": ""},
        {"token": 7},
        {"token": "a\r\nX: y"},
        {"token": "a", "expires_in": "soon"},
        {"token": "x" * (64 << 10)},
    ],
)
def test_nonsense_from_a_token_server(fake: FakeRegistry, answer: object) -> None:
    tokens = TokenServer(fake)
    fake.faults.insert(0, lambda r: Response(json.dumps(answer)) if r.path == "/token" else None)
    with pytest.raises(RegistryError, match=r"token|larger"):
        get(Client(fake.domain, "app", quick_options()))
    assert tokens.asked == []


@pytest.mark.parametrize(
    "realm", ["http://evil.example/token", "file:///etc/passwd", "http://u:p@127.0.0.1/t", ""]
)
def test_a_password_goes_to_no_hostile_realm(fake: FakeRegistry, realm: str) -> None:
    tokens = TokenServer(fake)
    tokens.realm = realm
    with pytest.raises(RegistryError, match=r"refused to follow|not where to get it"):
        get(Client(fake.domain, "app", quick_options(ME)))
    assert all(seen.authorization is None for seen in fake.seen)


def test_busy_token_server_is_asked_again(fake: FakeRegistry) -> None:
    fake.fail("GET /token", lambda r: error(429, "TOOMANYREQUESTS", Retry_After="0"), times=2)
    TokenServer(fake)
    assert get(Client(fake.domain, "app", quick_options())) == b"manifest"


def basic_guard(request: Request) -> Response | None:
    sent = request.authorization
    if request.path.startswith("/v2/") and (sent is None or sent.password != "pass:word"):
        return error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="registry"')
    return None


def test_basic(fake: FakeRegistry) -> None:
    fake.faults.append(basic_guard)
    client = Client(fake.domain, "app", quick_options(ME))
    assert get(client) == b"manifest"
    assert get(client) == b"manifest"
    # /v2/ and the manifest were refused once; after that the header goes along at once
    assert [bool(seen.authorization) for seen in fake.seen] == [False, False, True, True]


@pytest.mark.parametrize("credentials", [None, Credentials("me", "wrong")])
def test_basic_refused(fake: FakeRegistry, credentials: Credentials | None) -> None:
    fake.faults.append(basic_guard)
    with pytest.raises(AuthError, match="access denied"):
        get(Client(fake.domain, "app", quick_options(credentials)))
    assert len(fake.requests("manifests")) == (2 if credentials else 1)


def test_credentials_are_looked_up_only_when_asked_for(fake: FakeRegistry) -> None:
    def find(domain: str, repository: str) -> Credentials | None:
        raise AssertionError("nobody asked")

    assert get(Client(fake.domain, "app", Options(credentials=find))) == b"manifest"


def redirect_to(url: str, status: int = 307) -> Callable[[Request], Response]:
    return lambda request: Response("", status, {"Location": url})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_credential_reaches_another_host(
    fake: FakeRegistry, other_host: FakeRegistry, status: int
) -> None:
    other_host.server.expect_request("/data")
    other_host.faults.append(lambda request: Response(b"from elsewhere"))
    fake.faults.append(basic_guard)
    fake.fail("GET /v2/app/manifests", redirect_to(f"{other_host.url}/data", status), times=9)
    assert get(Client(fake.domain, "app", quick_options(ME))) == b"from elsewhere"
    assert [seen.path for seen in other_host.seen] == ["/data"]
    assert all(seen.authorization is None for seen in other_host.seen)
    assert any(seen.authorization for seen in fake.seen)


def test_another_host_cannot_ask_for_credentials(
    fake: FakeRegistry, other_host: FakeRegistry
) -> None:
    """CVE-2020-15157: the challenge of a host we were sent to is not answered."""
    for challenge in ('Basic realm="give"', f'Bearer realm="{other_host.url}/token"'):
        other_host.faults[:] = [
            lambda r, c=challenge: error(401, "UNAUTHORIZED", WWW_Authenticate=c)  # type: ignore[misc]
        ]
        fake.faults[:] = [basic_guard]
        fake.fail("GET /v2/app/manifests", redirect_to(f"{other_host.url}/data"), times=9)
        with pytest.raises(AuthError):
            get(Client(fake.domain, "app", quick_options(ME)))
    assert {seen.path for seen in other_host.seen} == {"/data"}
    assert all(seen.authorization is None for seen in other_host.seen)


def test_redirects_within_the_registry_keep_credentials(fake: FakeRegistry) -> None:
    fake.faults.append(basic_guard)
    fake.fail("GET /v2/app/manifests/old", redirect_to("/v2/app/manifests/1"), times=9)
    client = Client(fake.domain, "app", quick_options(ME))
    assert get(client, "/v2/app/manifests/old") == b"manifest"


def test_redirects_end(fake: FakeRegistry, client: Client) -> None:
    fake.fail("GET /v2/app", redirect_to("/v2/app/round"), times=99)
    with pytest.raises(RegistryError, match="more than 5 redirects"):
        get(client)
    assert len(fake.requests("/v2/app")) == 6


@pytest.mark.parametrize("location", ["http://evil.example/x", "gopher://x/", "http://u:p@h/"])
def test_hostile_redirects(fake: FakeRegistry, client: Client, location: str) -> None:
    fake.fail("GET /v2/app", redirect_to(location), times=99)
    with pytest.raises(RegistryError, match="refused to follow"):
        get(client)


def test_an_expired_signed_address_is_asked_for_again(
    fake: FakeRegistry, other_host: FakeRegistry, client: Client
) -> None:
    answers = iter([Response("expired", 403), Response(b"fresh")])
    other_host.faults.append(lambda request: next(answers))
    fake.fail("GET /v2/app/manifests", redirect_to(f"{other_host.url}/signed"), times=2)
    assert get(client) == b"fresh"
    assert len(fake.requests("manifests")) == 2


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_failures(fake: FakeRegistry, client: Client, status: int) -> None:
    fake.fail("manifests", lambda r: error(status, "BUSY"), times=4)
    assert get(client) == b"manifest"
    assert len(fake.requests("manifests")) == 5


def test_failures_that_do_not_pass(fake: FakeRegistry, client: Client) -> None:
    fake.fail("manifests", lambda r: error(500, "UNKNOWN", "disk on fire"), times=99)
    with pytest.raises(TransientError, match=r"app:1: .* answered 500 \(UNKNOWN: disk on fire\)"):
        get(client)
    assert len(fake.requests("manifests")) == 5


def test_a_long_retry_after_fails_at_once(fake: FakeRegistry, client: Client) -> None:
    fake.fail("manifests", lambda r: error(429, "TOOMANYREQUESTS", Retry_After="3600"), times=99)
    with pytest.raises(RegistryError, match="wait 3600 s"):
        get(client)
    assert len(fake.requests("manifests")) == 1


@pytest.mark.parametrize("status", [400, 405, 410, 451])
def test_lasting_failures_are_not_repeated(fake: FakeRegistry, client: Client, status: int) -> None:
    fake.fail("manifests", lambda r: error(status, "NO", "really"), times=99)
    with pytest.raises(RegistryError, match=rf"answered {status} \(NO: really\)"):
        get(client)
    assert len(fake.requests("manifests")) == 1


def test_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match=r"app:1: not found on 127.* \(MANIFEST_UNKNOWN: manifest"):
        get(client, "/v2/app/manifests/none")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"errors":[{"code":"X","message":"a\\u001b[31mb\\nc"}]}', r"\(X: a \[31mb c\)$"),
        (b"<html>oops</html>", r"answered 400$"),
        (b'{"errors":[]}', r"answered 400$"),
        (b'{"errors":"x"}', r"answered 400$"),
        (b"\xff", r"answered 400$"),
        (b'{"errors":[{"message":"' + b"y" * 9999 + b'"}]}', r"y…\)$"),
        (b"x" * (65 << 10), r"answered 400$"),
    ],
)
def test_error_bodies(fake: FakeRegistry, client: Client, body: bytes, said: str) -> None:
    fake.fail("manifests", lambda r: Response(body, 400))
    with pytest.raises(RegistryError, match=said) as caught:
        get(client)
    assert len(str(caught.value)) < 500


def test_endless_documents_are_cut(fake: FakeRegistry, client: Client) -> None:
    fake.fail("manifests", lambda r: endless(), times=9)
    with pytest.raises(RegistryError, match="larger than 100000 bytes"):
        get(client, limit=100_000)
    assert len(fake.requests("manifests")) == 1


def test_a_document_of_exactly_the_limit(client: Client) -> None:
    assert get(client, limit=len(b"manifest")) == b"manifest"
    with pytest.raises(RegistryError, match="larger than 7 bytes"):
        get(client, limit=7)


def test_cut_documents_are_asked_again(fake: FakeRegistry, client: Client) -> None:
    fake.fail("manifests", lambda r: cut(b"manifest", 3), times=2)
    assert get(client) == b"manifest"


def test_a_drip_is_no_answer(fake: FakeRegistry) -> None:
    client = Client(fake.domain, "app", quick_options(attempts=2))
    fake.fail("manifests", lambda r: drip(b"x" * 100, 1, 0.1), times=9)
    with pytest.raises(TransientError, match="stalled at"):
        get(client)


def test_bodies_are_not_inflated(fake: FakeRegistry, client: Client) -> None:
    """A digest is taken over what was stored, whatever Content-Encoding claims."""
    fake.fail("manifests", lambda r: Response(b"\x1f\x8bxx", 200, {"Content-Encoding": "gzip"}))
    assert get(client) == b"\x1f\x8bxx"
    assert fake.seen[-1].headers["Accept-Encoding"] == "identity"


def test_nothing_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        domain = f"127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(RegistryError, match=rf"{domain}: cannot connect: Connection refused"):
            get(Client(domain, "app", quick_options()))


@pytest.mark.parametrize(
    ("code", "tries", "reason"),
    [
        (socket.EAI_NONAME, 1, "host not found; check the registry's name"),
        (socket.EAI_AGAIN, 3, "the name server does not answer"),
    ],
)
def test_name_lookup(monkeypatch: pytest.MonkeyPatch, code: int, tries: int, reason: str) -> None:
    asked: list[object] = []

    def fails(host: object, *rest: object, **named: object) -> object:
        asked.append(host)
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(RegistryError, match=f"reg.example: {reason}"):
        get(Client("reg.example", "app", quick_options(attempts=3)))
    assert asked == ["reg.example"] * tries


def test_a_registry_that_restarts_is_waited_for(fake: FakeRegistry, client: Client) -> None:
    get(client)
    fake.fail("manifests", lambda r: cut(b"manifest", 0), times=3)
    assert get(client) == b"manifest"


@pytest.mark.needs("openssl")
def test_tls(secure: FakeRegistry, certificate: Path) -> None:
    with pytest.raises(TlsError, match=r"certificate not trusted.*--ca FILE"):
        get(Client(secure.domain, "app", quick_options()))
    assert (
        get(Client(secure.domain, "app", quick_options(trust=Trust(ca=certificate)))) == b"manifest"
    )
    assert (
        get(Client(secure.domain, "app", quick_options(trust=Trust(verify=False)))) == b"manifest"
    )


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    for text in (None, "no certificate"):
        if text:
            path.write_text(text)
        with pytest.raises(RegistryError, match=f"{path}: not usable as a CA file"):
            Client("reg.example", "app", Options(Trust(ca=path)))


def test_plain_http_is_for_this_machine_alone(
    fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake registry under a name that is not loopback by its looks."""
    resolve = socket.getaddrinfo

    def resolved(host: str, *rest: object, **named: object) -> object:
        return resolve("127.0.0.1" if host == "reg.example" else host, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    domain = f"reg.example:{fake.server.port}"
    with pytest.raises(RegistryError):
        get(Client(domain, "app", quick_options(attempts=1)))
    assert fake.requests("/v2/") == []
    allowing = quick_options(attempts=1, trust=Trust(verify=False))
    assert get(Client(domain, "app", allowing)) == b"manifest"


def test_merge_scopes() -> None:
    assert merge_scopes(["repository:a:pull", "repository:a:pull,push", "aws"]) == [
        "repository:a:pull,push",
        "aws",
    ]
    assert merge_scopes(["repository:h:5000/a:pull", "repository:b:pull"]) == [
        "repository:h:5000/a:pull",
        "repository:b:pull",
    ]
