"""One blob into a registry: there already, mounted, at once, in chunks, and after failures."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from registrytest.debian import RunningRegistry
from registrytest.fake import FakeRegistry, error
from registrytest.images import OCI_LAYER, noise
from registrytest.options import quick_options
from werkzeug import Request, Response

from layertool.errors import NotFound, RegistryError
from layertool.oci.model import Descriptor
from layertool.transport.registry.auth import AuthError
from layertool.transport.registry.client import Client
from layertool.transport.registry.credentials import Credentials
from layertool.transport.registry.retry import TransientError
from layertool.transport.registry.upload import Outcome, Uploader

BLOB = noise(1_000_003)
DESCRIPTOR = Descriptor.of(BLOB, OCI_LAYER)
CHUNK = 300_000


def put(
    client: Client,
    *,
    chunk: int = 64 << 20,
    mounts: tuple[str, ...] = (),
    sent: Callable[[int], None] = lambda position: None,
) -> Outcome:
    uploader = Uploader(client, "app", chunk=chunk)
    return uploader.put(DESCRIPTOR, lambda: io.BytesIO(BLOB), mounts=mounts, sent=sent)


def there(fake: FakeRegistry) -> bool:
    return fake.blobs.get(("app", DESCRIPTOR.digest)) == BLOB


def methods(fake: FakeRegistry) -> list[str]:
    return [seen.method for seen in fake.requests("/blobs/")]


def test_at_once(fake: FakeRegistry, client: Client) -> None:
    positions: list[int] = []
    assert put(client, sent=positions.append) is Outcome.UPLOADED
    assert there(fake)
    assert methods(fake) == ["HEAD", "POST", "PUT"]
    assert positions[-1] == len(BLOB)
    assert fake.seen[-1].headers["Content-Length"] == str(len(BLOB))
    # the registry's own query is kept, ours is added to it
    assert fake.seen[-1].query == f"state=0&digest={DESCRIPTOR.digest}"


def test_what_is_there_is_not_sent(fake: FakeRegistry, client: Client) -> None:
    fake.blobs["app", DESCRIPTOR.digest] = BLOB
    assert put(client) is Outcome.EXISTS
    assert methods(fake) == ["HEAD"]


def test_mount(fake: FakeRegistry, client: Client) -> None:
    fake.blobs["team/base", DESCRIPTOR.digest] = BLOB
    assert put(client, mounts=("team/base",)) is Outcome.MOUNTED
    assert there(fake)
    assert sum(seen.body_size for seen in fake.seen) == 0
    assert fake.seen[-1].query == f"mount={DESCRIPTOR.digest}&from=team%2Fbase"


def test_a_mount_that_is_refused_becomes_an_upload(fake: FakeRegistry, client: Client) -> None:
    assert put(client, mounts=("team/base", "other")) is Outcome.UPLOADED
    assert there(fake)
    assert methods(fake) == ["HEAD", "POST", "DELETE", "POST", "DELETE", "POST", "PUT"]
    assert fake.uploads == {}


def test_chunks(fake: FakeRegistry, client: Client) -> None:
    assert put(client, chunk=CHUNK) is Outcome.UPLOADED
    assert there(fake)
    patches = [seen for seen in fake.seen if seen.method == "PATCH"]
    assert [seen.headers["Content-Range"] for seen in patches] == [
        "0-299999",
        "300000-599999",
        "600000-899999",
        "900000-1000002",
    ]


def test_chunks_no_smaller_than_the_registry_wants(fake: FakeRegistry, client: Client) -> None:
    def open_upload(request: Request) -> Response:
        fake.uploads["7"] = bytearray()
        location = "/v2/app/blobs/uploads/7?state=0"
        return Response("", 202, {"Location": location, "OCI-Chunk-Min-Length": "500000"})

    fake.fail("POST .*/uploads/", open_upload)
    assert put(client, chunk=CHUNK) is Outcome.UPLOADED
    assert [seen.body_size for seen in fake.requests("PATCH")] == [500_000, 500_000, 3]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_failed_chunk_is_sent_again(fake: FakeRegistry, client: Client, status: int) -> None:
    fake.faults.append(Nth("PATCH", 2, lambda r: error(status, "BUSY", Retry_After="0")))
    assert put(client, chunk=CHUNK) is Outcome.UPLOADED
    assert there(fake)
    assert methods(fake).count("PATCH") == 5


def test_resumes_where_the_registry_is(fake: FakeRegistry, client: Client) -> None:
    """Half a chunk has arrived when the connection breaks: the other half is enough."""

    def half(request: Request) -> Response:
        upload = fake.uploads["1"]
        upload += request.get_data()[:100_000]
        return error(502, "GATEWAY")

    fake.faults.append(Nth("PATCH", 2, half))
    assert put(client, chunk=CHUNK) is Outcome.UPLOADED
    assert there(fake)
    starts = [seen.headers["Content-Range"] for seen in fake.requests("PATCH")]
    assert starts[:3] == ["0-299999", "300000-599999", "400000-699999"]


def test_a_lost_upload_starts_again(fake: FakeRegistry, client: Client) -> None:
    def lose(request: Request) -> Response:
        fake.uploads.pop("1", None)
        return error(500, "UNKNOWN")

    fake.faults.append(Nth("PATCH", 3, lose))
    assert put(client, chunk=CHUNK) is Outcome.UPLOADED
    assert there(fake)
    starts = [seen.headers["Content-Range"].partition("-")[0] for seen in fake.requests("PATCH")]
    assert starts == ["0", "300000", "600000", "0", "300000", "600000", "900000"]


def test_416_resumes_at_the_registrys_range(fake: FakeRegistry, client: Client) -> None:
    def out_of_order(request: Request) -> Response:
        fake.uploads["1"] += BLOB[300_000:350_000]  # as if an earlier try had got through
        return Response("", 416)

    fake.faults.append(Nth("PATCH", 2, out_of_order))
    assert put(client, chunk=CHUNK) is Outcome.UPLOADED
    assert there(fake)


def test_413_becomes_chunks(fake: FakeRegistry, client: Client) -> None:
    fake.fail("PUT", lambda r: Response("too large", 413))
    assert put(client) is Outcome.UPLOADED
    assert there(fake)
    assert "PATCH" in methods(fake)


def test_a_failed_put_starts_a_new_upload(fake: FakeRegistry, client: Client) -> None:
    fake.fail("PUT", lambda r: error(500, "UNKNOWN"), times=2)
    assert put(client) is Outcome.UPLOADED
    assert there(fake)
    assert methods(fake) == ["HEAD"] + ["POST", "PUT", "DELETE"] * 2 + ["POST", "PUT"]


def test_a_stream_is_sent_again_after_401(fake: FakeRegistry, client: Client) -> None:
    """The token ran out between POST and PUT."""
    fake.fail("PUT", lambda r: error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"'))
    known = Client(fake.domain, "app", quick_options(Credentials("me", "pw")))
    assert put(known) is Outcome.UPLOADED
    assert there(fake)
    assert [seen.body_size for seen in fake.requests("PUT")] == [len(BLOB), len(BLOB)]


def test_wrong_digest(fake: FakeRegistry, client: Client) -> None:
    uploader = Uploader(client, "app")
    with pytest.raises(RegistryError, match=r"answered 400 .DIGEST_INVALID"):
        uploader.put(DESCRIPTOR, lambda: io.BytesIO(b"x" * len(BLOB)))
    assert not there(fake)
    assert methods(fake).count("PUT") == 1


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
def test_denied(fake: FakeRegistry, client: Client, method: str) -> None:
    fake.fail(method, lambda r: error(403, "DENIED", "no write access"), times=99)
    with pytest.raises(AuthError, match="access denied"):
        put(client)
    assert methods(fake).count(method) == 1


def test_a_registry_that_always_fails(fake: FakeRegistry, client: Client) -> None:
    fake.fail("PATCH", lambda r: error(503, "BUSY"), times=99)
    with pytest.raises(TransientError, match="answered 503"):
        put(client, chunk=CHUNK)
    assert methods(fake).count("PATCH") == 5


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (None, "not where to upload"),
        ("http://evil.example/upload", "plain http"),
        ("file:///etc/passwd", "not an HTTP address"),
        ("http://user:pw@127.0.0.1/", "user name"),
    ],
)
def test_hostile_upload_locations(
    fake: FakeRegistry, client: Client, location: str | None, reason: str
) -> None:
    headers = {"Location": location} if location else {}
    fake.fail("POST", lambda r: Response("", 202, headers), times=9)
    with pytest.raises(RegistryError, match=reason):
        put(client)
    assert methods(fake) == ["HEAD", "POST"]


def test_an_upload_elsewhere_gets_no_credential(
    fake: FakeRegistry, other_host: FakeRegistry
) -> None:
    def guard(request: Request) -> Response | None:
        if request.authorization is None:
            return error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"')
        return None

    fake.faults.append(guard)
    fake.fail("POST", lambda r: Response("", 202, {"Location": f"{other_host.url}/up?a=b"}))
    other_host.faults.append(lambda r: Response("", 201))
    known = Client(fake.domain, "app", quick_options(Credentials("me", "pw")))
    assert put(known) is Outcome.UPLOADED
    [seen] = other_host.seen
    assert seen.authorization is None
    assert seen.body_size == len(BLOB)


def test_a_registry_that_claims_more_than_was_sent(fake: FakeRegistry, client: Client) -> None:
    location = "/v2/app/blobs/uploads/1?state=0"
    answer = {"Location": location, "Range": "0-999999999"}
    fake.fail("PATCH", lambda r: Response("", 202, answer))
    with pytest.raises(RegistryError, match="claims to have more"):
        put(client, chunk=CHUNK)


class Nth:
    """A fault for the request number `number` (from 1) with this method."""

    def __init__(self, method: str, number: int, answer: Callable[[Request], Response]) -> None:
        self.method = method
        self.left = number
        self.answer = answer

    def __call__(self, request: Request) -> Response | None:
        if request.method != self.method:
            return None
        self.left -= 1
        return self.answer(request) if self.left == 0 else None


@pytest.mark.parametrize("chunk", [64 << 20, CHUNK])
def test_debian_registry(registry: RunningRegistry, chunk: int) -> None:
    repository = f"upload{chunk}"
    client = Client(registry.domain, repository, quick_options())
    uploader = Uploader(client, repository, chunk=chunk)
    assert uploader.put(DESCRIPTOR, lambda: io.BytesIO(BLOB)) is Outcome.UPLOADED
    assert uploader.put(DESCRIPTOR, lambda: io.BytesIO(BLOB)) is Outcome.EXISTS
    answer = client.call("GET", f"/v2/{repository}/blobs/{DESCRIPTOR.digest}", what="blob")
    assert answer.document(len(BLOB)) == BLOB
    second = Uploader(client, f"second{chunk}")
    assert second.put(DESCRIPTOR, _never, mounts=(repository,)) is Outcome.MOUNTED
    with pytest.raises(NotFound):
        client.call("GET", f"/v2/third{chunk}/blobs/{DESCRIPTOR.digest}", what="blob")


def _never() -> io.BytesIO:
    raise AssertionError("a mounted blob is not read")
