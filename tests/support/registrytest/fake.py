"""A registry in memory that can be told to fail.

It serves the distribution API from dictionaries, notes every request, and asks a list of faults
first: a fault looks at a request and answers it, or lets it pass.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from registrytest.images import OCI_MANIFEST, MadeImage, digest_of

Fault = Callable[[Request], Response | None]

_BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})")
_MANIFEST = re.compile(r"/v2/(.+)/manifests/([^/]+)")
_UPLOADS = re.compile(r"/v2/(.+)/blobs/uploads/")
_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/(\d+)")


@dataclass
class Seen:
    """One request, as far as the tests ask about it."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body_size: int

    @property
    def authorization(self) -> str | None:
        return self.headers.get("Authorization")


@dataclass
class Planted:
    """A fault for requests whose `METHOD PATH` matches, the first `times` of them."""

    match: str
    answer: Callable[[Request], Response]
    times: int = 1
    hits: int = 0

    def __call__(self, request: Request) -> Response | None:
        if self.hits >= self.times or not re.search(self.match, f"{request.method} {request.path}"):
            return None
        self.hits += 1
        return self.answer(request)


@dataclass
class FakeRegistry:
    """The server and what is in it; `seen` has all requests in order."""

    server: HTTPServer
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    opened: int = 0
    ranges: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.server.expect_request(re.compile(".*")).respond_with_handler(self.handle)

    @property
    def domain(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    @property
    def url(self) -> str:
        return f"http://{self.domain}"

    def add(self, repository: str, tag: str, image: MadeImage) -> None:
        for digest, blob in image.blobs.items():
            self.blobs[repository, digest] = blob
        self.add_manifest(repository, tag, image.manifest, image.media_type)

    def add_manifest(self, repository: str, tag: str, raw: bytes, media_type: str) -> None:
        self.manifests[repository, tag] = (raw, media_type)
        self.manifests[repository, digest_of(raw)] = (raw, media_type)

    def fail(self, match: str, answer: Callable[[Request], Response], times: int = 1) -> Planted:
        fault = Planted(match, answer, times)
        self.faults.append(fault)
        return fault

    def requests(self, match: str) -> list[Seen]:
        """The requests whose `METHOD PATH` matches."""
        return [seen for seen in self.seen if re.search(match, f"{seen.method} {seen.path}")]

    def handle(self, request: Request) -> Response:
        body = request.get_data()
        query = request.query_string.decode()
        with self.lock:
            headers = dict(request.headers.items())
            self.seen.append(Seen(request.method, request.path, query, headers, len(body)))
            for fault in self.faults:
                answer = fault(request)
                if answer is not None:
                    return answer
            return self._route(request, body)

    def _route(self, request: Request, body: bytes) -> Response:
        if request.path == "/v2/":
            return Response("{}", 200)
        for pattern, handler in (
            (_UPLOADS, self._open_upload),
            (_UPLOAD, self._upload),
            (_BLOB, self._blob),
            (_MANIFEST, self._manifest),
        ):
            found = pattern.fullmatch(request.path)
            if found:
                return handler(request, body, *found.groups())
        return error(404, "NAME_UNKNOWN")

    def _blob(self, request: Request, body: bytes, repository: str, digest: str) -> Response:
        blob = self.blobs.get((repository, digest))
        if blob is None:
            return error(404, "BLOB_UNKNOWN")
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if wanted and self.ranges:
            start = int(wanted[1])
            headers = {"Content-Range": f"bytes {start}-{len(blob) - 1}/{len(blob)}"}
            return Response(blob[start:], 206, headers)
        return Response(blob, 200, {"Content-Type": "application/octet-stream"})

    def _manifest(self, request: Request, body: bytes, repository: str, ref: str) -> Response:
        if request.method == "PUT":
            self.manifests[repository, ref] = (body, request.content_type or OCI_MANIFEST)
            self.manifests[repository, digest_of(body)] = self.manifests[repository, ref]
            return Response("", 201, {"Location": f"/v2/{repository}/manifests/{digest_of(body)}"})
        found = self.manifests.get((repository, ref))
        if found is None:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return Response(found[0], 200, {"Content-Type": found[1]})

    def _open_upload(self, request: Request, body: bytes, repository: str) -> Response:
        source, digest = request.args.get("from"), request.args.get("mount")
        if source and digest and (source, digest) in self.blobs:
            self.blobs[repository, digest] = self.blobs[source, digest]
            return Response("", 201, {"Location": f"/v2/{repository}/blobs/{digest}"})
        self.opened += 1
        number = str(self.opened)
        self.uploads[number] = bytearray()
        return self._accepted(repository, number)

    def _upload(self, request: Request, body: bytes, repository: str, number: str) -> Response:
        upload = self.uploads.get(number)
        if upload is None:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        if request.method == "GET":
            return self._accepted(repository, number, 204)
        if request.args.get("state") != str(len(upload)):
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        if request.method == "DELETE":
            del self.uploads[number]
            return Response("", 204)
        if request.method == "PATCH":
            start = request.headers.get("Content-Range", "0-").partition("-")[0]
            if int(start) != len(upload):
                return self._accepted(repository, number, 416)
            upload += body
            return self._accepted(repository, number)
        return self._finish(request, repository, number, bytes(upload) + body)

    def _finish(self, request: Request, repository: str, number: str, blob: bytes) -> Response:
        digest = request.args.get("digest", "")
        del self.uploads[number]
        if digest != "sha256:" + hashlib.sha256(blob).hexdigest():
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.blobs[repository, digest] = blob
        return Response("", 201, {"Location": f"/v2/{repository}/blobs/{digest}"})

    def _accepted(self, repository: str, number: str, status: int = 202) -> Response:
        size = len(self.uploads[number])
        headers = {
            # The state in the query makes an old Location unusable, as in real registries.
            "Location": f"/v2/{repository}/blobs/uploads/{number}?state={size}",
            "Range": f"0-{max(size - 1, 0)}",
        }
        return Response("", status, headers)


def error(status: int, code: str, message: str = "", **headers: str) -> Response:
    """An error answer in the registry's form; `Retry_After="1"` gives a header."""
    body = json.dumps({"errors": [{"code": code, "message": message}]})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(body, status, named | {"Content-Type": "application/json"})


def cut(blob: bytes, after: int, *, status: int = 200, **headers: str) -> Response:
    """A body that says it is `blob` and ends after `after` bytes with a dead connection."""

    def pieces() -> Iterator[bytes]:
        yield blob[:after]
        raise ConnectionAbortedError("cut by the test")

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(pieces(), status, {"Content-Length": str(len(blob))} | named)


def endless(piece: bytes = b" " * 65536) -> Response:
    """A JSON document that never ends (well, after a gigabyte)."""

    def pieces() -> Iterator[bytes]:
        yield b"{"
        for _ in range((1 << 30) // len(piece)):
            yield piece

    return Response(pieces(), 200, {"Content-Type": OCI_MANIFEST})


def drip(blob: bytes, piece: int, pause: float) -> Response:
    """A body that comes `piece` bytes at a time, `pause` seconds apart."""

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(blob), piece):
            time.sleep(pause)
            yield blob[start : start + piece]

    return Response(pieces(), 200, {"Content-Length": str(len(blob))})
