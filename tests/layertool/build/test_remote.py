"""ADD from a URL, against a server on loopback."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from buildtest import Bench
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from layertool.build import remote
from layertool.build.filehash import FileHashes
from layertool.errors import BadDigest, LayertoolError

BODY = b"the content"
DIGEST = "sha256:" + hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def hashes(tmp_path: Path) -> Iterator[FileHashes]:
    with FileHashes(tmp_path / "hashes.db") as opened:
        yield opened


def serve(server: HTTPServer, etag: str | None = None, modified: str | None = None) -> list[int]:
    """A server that honours conditions; the statuses it gave."""
    given: list[int] = []

    def answer(request: Request) -> Response:
        headers = {"ETag": etag} if etag else {}
        if modified:
            headers["Last-Modified"] = modified
        same = (etag and request.headers.get("If-None-Match") == etag) or (
            modified and request.headers.get("If-Modified-Since") == modified
        )
        given.append(304 if same else 200)
        return Response(b"" if same else BODY, given[-1], headers)

    server.expect_request("/f").respond_with_handler(answer)
    return given


@pytest.mark.parametrize(
    ("etag", "modified", "statuses"),
    [
        ('"1"', None, [200, 304]),
        (None, "Wed, 21 Oct 2015 07:28:00 GMT", [200, 304]),
        (None, None, [200, 200]),
    ],
)
def test_what_did_not_change_is_not_fetched_again(
    httpserver: HTTPServer,
    hashes: FileHashes,
    tmp_path: Path,
    etag: str | None,
    modified: str | None,
    statuses: list[int],
) -> None:
    given = serve(httpserver, etag, modified)
    url = httpserver.url_for("/f")
    first = remote.check(url, tmp_path / "room", hashes, None)
    second = remote.check(url, tmp_path / "room2", hashes, DIGEST)
    assert given == statuses
    assert first.digest == second.digest == DIGEST
    assert remote.fetch(second, tmp_path / "room3").read_bytes() == BODY
    if modified:
        assert first.mtime_ns == second.mtime_ns == 1445412480 * 10**9


def test_checksum(httpserver: HTTPServer, hashes: FileHashes, tmp_path: Path) -> None:
    serve(httpserver)
    url = httpserver.url_for("/f")
    with pytest.raises(BadDigest, match=r"/f: digest mismatch: expected sha256:0+, got sha256:"):
        remote.check(url, tmp_path / "room", hashes, "sha256:" + "0" * 64)
    assert list((tmp_path / "room").iterdir()) == []


def test_content_that_changes_between_check_and_fetch(
    httpserver: HTTPServer, hashes: FileHashes, tmp_path: Path
) -> None:
    serve(httpserver)
    found = remote.Remote(httpserver.url_for("/f"), "sha256:" + "1" * 64, None, None)
    with pytest.raises(BadDigest):
        remote.fetch(found, tmp_path / "room")


@pytest.mark.parametrize("status", [401, 404, 500])
def test_errors_are_one_line(
    httpserver: HTTPServer, hashes: FileHashes, tmp_path: Path, status: int
) -> None:
    httpserver.expect_request("/f").respond_with_data("no", status=status)
    with pytest.raises(LayertoolError, match=rf"/f: the server answers {status}$"):
        remote.check(httpserver.url_for("/f"), tmp_path / "room", hashes, None)


def test_endless_bodies_end(
    httpserver: HTTPServer, hashes: FileHashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_DOWNLOAD", 5)
    serve(httpserver)
    with pytest.raises(LayertoolError, match="more than 5 bytes"):
        remote.check(httpserver.url_for("/f"), tmp_path / "room", hashes, None)


def test_a_redirect_is_followed(httpserver: HTTPServer, hashes: FileHashes, tmp_path: Path) -> None:
    serve(httpserver)
    httpserver.expect_request("/r").respond_with_data(
        status=302, headers={"Location": httpserver.url_for("/f")}
    )
    found = remote.check(httpserver.url_for("/r"), tmp_path / "room", hashes, None)
    assert found.digest == DIGEST


def test_no_server(hashes: FileHashes, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/f"
        with pytest.raises(LayertoolError, match=f"^{url}: Connection refused$"):
            remote.check(url, tmp_path / "room", hashes, None)


def test_through_a_proxy(
    httpserver: HTTPServer, hashes: FileHashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(httpserver)
    monkeypatch.setenv("http_proxy", httpserver.url_for(""))
    found = remote.check("http://files.example/f", tmp_path / "room", hashes, None)
    assert found.digest == DIGEST
    assert httpserver.log[-1][0].host == "files.example"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/a/b.tgz?x=/y", "b.tgz"),
        ("https://h/a%20b", "a b"),
        ("https://h/", None),
        ("https://h", None),
        ("https://h/a/..", None),
        ("https://h/%2e%2e", None),
        ("https://h/a%2fb", "b"),
        ("https://h/a%00b", None),
    ],
)
def test_file_name(url: str, name: str | None) -> None:
    assert remote.file_name(url) == name


def test_add_of_a_url(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, modified="Wed, 21 Oct 2015 07:28:00 GMT")
    url = httpserver.url_for("/f")
    text = (
        f"FROM base\nADD {url} /d/\nADD --checksum={DIGEST} --chmod=644 {url} /named\n"
        'RUN [ "$(stat -c %a:%Y /d/f)" = 600:1445412480 ] && [ "$(stat -c %a /named)" = 644 ]\n'
    )
    done = bench.build(text)
    assert done.status == 0, done.err
    assert bench.build(text).ran == []


def test_add_with_a_wrong_checksum(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver)
    wrong = "sha256:" + "0" * 64
    done = bench.build(f"FROM base\nADD --checksum={wrong} {httpserver.url_for('/f')} /\n")
    assert done.status == 1
    assert f"digest mismatch: expected {wrong}, got {DIGEST}" in done.err.splitlines()[-1]
