"""Which address an answer may send us to, and where plain HTTP is allowed."""

from __future__ import annotations

import pytest

from layertool.errors import RegistryError
from layertool.transport.registry.endpoint import (
    Trust,
    api_host,
    domain_is_loopback,
    follow,
    origin,
    parse_domain,
    printable,
)

SECURE = "https://reg.example/v2/app/blobs/uploads/"
LOCAL = "http://127.0.0.1:5000/v2/app/blobs/uploads/"


@pytest.mark.parametrize(
    ("base", "location", "expected"),
    [
        (SECURE, "/v2/app/u/1?state=a%2Bb", "https://reg.example/v2/app/u/1?state=a%2Bb"),
        (SECURE, "1", "https://reg.example/v2/app/blobs/uploads/1"),
        (SECURE, "https://cdn.example/x?sig=1", "https://cdn.example/x?sig=1"),
        (SECURE, "//cdn.example/x", "https://cdn.example/x"),
        (SECURE, "https:///x", "https://reg.example/x"),
        (LOCAL, "http://localhost:6000/x", "http://localhost:6000/x"),
        (LOCAL, "http://[::1]:6000/x", "http://[::1]:6000/x"),
        (LOCAL, "https://cdn.example/x", "https://cdn.example/x"),
    ],
)
def test_follow(base: str, location: str, expected: str) -> None:
    assert follow(base, location, Trust()) == expected


@pytest.mark.parametrize(
    ("base", "location", "reason"),
    [
        (SECURE, "http://reg.example/x", "down to plain http"),
        (SECURE, "http://127.0.0.1/x", "down to plain http"),
        (LOCAL, "http://169.254.169.254/latest", "plain http"),
        (LOCAL, "http://127.0.0.1.evil.example/x", "plain http"),
        (SECURE, "file:///etc/passwd", "not an HTTP address"),
        (SECURE, "ftp://reg.example/x", "not an HTTP address"),
        (SECURE, "https://user:secret@cdn.example/x", "user name"),
        (SECURE, "https://reg.example@cdn.example/x", "user name"),
        (SECURE, "https://h:port/x", "not an address"),
        (SECURE, "https://[::1/x", "not an address"),
        (SECURE, "/a\r\nAuthorization: x", "control characters"),
        (SECURE, "/a b", "spaces"),
    ],
)
def test_hostile_locations_are_refused(base: str, location: str, reason: str) -> None:
    with pytest.raises(RegistryError, match=reason):
        follow(base, location, Trust())


def test_plain_http_elsewhere_needs_the_users_word() -> None:
    url = "http://mirror.example/x"
    assert follow(LOCAL, url, Trust(verify=False)) == url
    with pytest.raises(RegistryError, match="down to plain http"):
        follow(SECURE, url, Trust(verify=False))


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("app.localhost", True),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("10.0.0.1:5000", False),
        ("[fe80::1]:5000", False),
        ("docker.io", False),
    ],
)
def test_loopback(domain: str, expected: bool) -> None:
    assert domain_is_loopback(domain) is expected


def test_docker_hub_has_three_names() -> None:
    assert parse_domain("index.docker.io") == "docker.io"
    assert api_host("docker.io") == "registry-1.docker.io"
    assert api_host("quay.io") == "quay.io"


@pytest.mark.parametrize("text", ["https://reg.example", "reg/app", "", "-x", "a b", "u@h", "h:"])
def test_not_a_registry(text: str) -> None:
    with pytest.raises(RegistryError, match="not a registry name"):
        parse_domain(text)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://h/x") == origin("https://h:443/y")
    assert origin("https://h/x") != origin("http://h/x")
    assert origin("https://h/x") != origin("https://h:8443/x")
    assert origin("https://h/x") != origin("https://h.evil/x")


def test_printable_takes_the_teeth_out_of_terminal_codes() -> None:
    assert printable("a\x1b[2Jb\r\nc") == "a [2Jb c"
    assert printable("x" * 999) == "x" * 300 + "…"
