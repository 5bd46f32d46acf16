"""Registries for these tests; all traffic stays on 127.0.0.1."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from registrytest.debian import RunningRegistry, registry_program, running_registry
from registrytest.fake import FakeRegistry
from registrytest.options import quick_options

from layertool.transport.registry.client import Client


@pytest.fixture(autouse=True)
def no_credentials_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the credentials nor the proxies of whoever runs the tests."""
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def _servers() -> Iterator[list[HTTPServer]]:
    # One pair for all tests: each takes half a second to stop.
    servers = [HTTPServer(host="127.0.0.1", threaded=True) for _ in range(2)]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def fake(_servers: list[HTTPServer]) -> FakeRegistry:
    """A registry in memory that can be told to fail."""
    _servers[0].clear()
    return FakeRegistry(_servers[0])


@pytest.fixture
def other_host(_servers: list[HTTPServer]) -> FakeRegistry:
    """A second server: another port of the same machine is another origin."""
    _servers[1].clear()
    return FakeRegistry(_servers[1])


@pytest.fixture(scope="session")
def _registry_program() -> Path:
    program = registry_program()
    if isinstance(program, str):
        pytest.skip(program)
    return program


@pytest.fixture(scope="session")
def registry(
    _registry_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningRegistry]:
    """Debian's docker-registry, open to all. Tests use repositories of their own."""
    with running_registry(_registry_program, tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def guarded(
    _registry_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningRegistry]:
    """The same with a password file: USER and PASSWORD of registrytest.debian."""
    root = tmp_path_factory.mktemp("guarded")
    with running_registry(_registry_program, root, password=True) as running:
        yield running


@pytest.fixture
def client(fake: FakeRegistry) -> Iterator[Client]:
    """An anonymous client of the fake registry."""
    made = Client(fake.domain, "app", quick_options())
    yield made
    made.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key, in one PEM file."""
    directory = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    command += ["-keyout", str(directory / "key"), "-out", str(directory / "cert")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    both = directory / "both.pem"
    both.write_text((directory / "cert").read_text() + (directory / "key").read_text())
    return both


@pytest.fixture
def secure(certificate: Path) -> Iterator[FakeRegistry]:
    """A registry behind TLS whose certificate nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = HTTPServer(host="127.0.0.1", ssl_context=context, threaded=True)
    server.start()
    try:
        made = FakeRegistry(server)
        made.add_manifest("app", "1", b"manifest", "text/plain")
        yield made
    finally:
        server.stop()
