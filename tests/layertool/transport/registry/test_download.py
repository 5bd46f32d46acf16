"""One blob, whatever happens to the connections under it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registrytest.fake import FakeRegistry, cut, drip, error
from registrytest.images import OCI_LAYER, digest_of, noise
from registrytest.options import quick_options
from werkzeug import Request, Response

from layertool.errors import BadDigest, NotFound, RegistryError
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor
from layertool.transport.registry.client import Client
from layertool.transport.registry.download import BlobStream
from layertool.transport.registry.retry import Cancelled, TransientError

BLOB = noise(3_000_000)
DESCRIPTOR = Descriptor.of(BLOB, OCI_LAYER)
PATH = f"/v2/app/blobs/{DESCRIPTOR.digest}"


@pytest.fixture(autouse=True)
def content(fake: FakeRegistry) -> None:
    fake.blobs["app", DESCRIPTOR.digest] = BLOB


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return tmp_path / "partial"


def fetch(
    client: Client, partial: Path | None = None, descriptor: Descriptor = DESCRIPTOR
) -> bytes:
    with BlobStream(client, "app", descriptor, partial) as stream:
        return stream.read()


def ranges(fake: FakeRegistry) -> list[str | None]:
    return [seen.headers.get("Range") for seen in fake.requests("/blobs/")]


def test_whole(fake: FakeRegistry, client: Client, partial: Path) -> None:
    positions: list[int] = []
    with BlobStream(client, "app", DESCRIPTOR, partial, positions.append) as stream:
        assert stream.read() == BLOB
        assert stream.read(10) == b""
    assert partial.read_bytes() == BLOB
    assert positions == sorted(positions)
    assert positions[-1] == len(BLOB)


def test_empty_blob(fake: FakeRegistry, client: Client, partial: Path) -> None:
    empty = Descriptor.of(b"", OCI_LAYER)
    assert fetch(client, partial, empty) == b""


@pytest.mark.parametrize("after", [0, 1, 1_000_000, len(BLOB) - 1])
def test_a_cut_connection_is_resumed(
    fake: FakeRegistry, client: Client, partial: Path, after: int
) -> None:
    fake.fail("GET /v2/app/blobs", lambda r: cut(BLOB, after))
    assert fetch(client, partial) == BLOB
    assert partial.read_bytes() == BLOB
    first, second = ranges(fake)
    assert first is None
    # What the dying server's buffers swallowed is asked for again: never more than was sent.
    assert second is None or int(second[6:-1]) <= after


def test_cut_again_and_again(fake: FakeRegistry, client: Client) -> None:
    """Tries that bring a mebibyte do not count; four without progress are still allowed."""

    def answer(request: Request) -> Response:
        start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
        rest = BLOB[start:]
        span = f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"
        return cut(rest, 200_000, status=206 if start else 200, Content_Range=span)

    fake.fail("GET /v2/app/blobs", answer, times=4)
    assert fetch(client) == BLOB


def test_gives_up_on_a_server_that_always_cuts(fake: FakeRegistry, client: Client) -> None:
    fake.fail("GET /v2/app/blobs", lambda r: cut(BLOB, 0), times=99)
    with pytest.raises(TransientError, match="connection lost"):
        fetch(client)
    assert len(fake.requests("/blobs/")) == 5


def test_a_later_run_goes_on_where_the_first_ended(
    fake: FakeRegistry, client: Client, partial: Path
) -> None:
    partial.write_bytes(BLOB[:1_234_567])
    assert fetch(client, partial) == BLOB
    assert ranges(fake) == ["bytes=1234567-"]
    assert partial.read_bytes() == BLOB


def test_a_complete_partial_needs_no_network(
    fake: FakeRegistry, client: Client, partial: Path
) -> None:
    partial.write_bytes(BLOB)
    assert fetch(client, partial) == BLOB
    assert fake.seen == []


def test_a_partial_that_is_too_long_is_another_blobs(
    fake: FakeRegistry, client: Client, partial: Path
) -> None:
    partial.write_bytes(BLOB + b"more")
    assert fetch(client, partial) == BLOB
    assert ranges(fake) == [None]


def test_a_partial_is_no_symlink(client: Client, partial: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    partial.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        fetch(client, partial)
    assert not victim.exists()


def test_a_server_without_ranges(fake: FakeRegistry, client: Client, partial: Path) -> None:
    fake.ranges = False
    partial.write_bytes(BLOB[:2_000_000])
    assert fetch(client, partial) == BLOB
    assert partial.read_bytes() == BLOB


@pytest.mark.parametrize(
    "header",
    [
        "bytes 0-2999999/3000000",
        "bytes 1000001-2999999/3000000",
        "bytes 1000000-2999999/4000000",
        "1000000-2999999",
        "bytes */3000000",
        "",
    ],
)
def test_a_wrong_content_range_is_not_believed(
    fake: FakeRegistry, client: Client, partial: Path, header: str
) -> None:
    """It goes on without ranges instead: the bytes of such an answer could be any."""
    partial.write_bytes(BLOB[:1_000_000])

    def answer(request: Request) -> Response:
        if "Range" not in request.headers:
            return Response(BLOB)
        return Response(b"x" * 2_000_000, 206, {"Content-Range": header})

    fake.fail("GET /v2/app/blobs", answer, times=9)
    assert fetch(client, partial) == BLOB
    assert ranges(fake) == ["bytes=1000000-", None]


def test_range_not_satisfiable(fake: FakeRegistry, client: Client, partial: Path) -> None:
    partial.write_bytes(BLOB[:10])
    fake.fail("GET /v2/app/blobs", lambda r: error(416, "RANGE_INVALID"))
    assert fetch(client, partial) == BLOB


def test_more_than_the_descriptor_says(fake: FakeRegistry, client: Client) -> None:
    fake.blobs["app", DESCRIPTOR.digest] = BLOB + b"!"
    with (
        BlobStream(client, "app", DESCRIPTOR) as stream,
        pytest.raises(BadDigest, match="more than the 3000000 bytes"),
    ):
        assert len(stream.read(1 << 30)) <= len(BLOB)
        stream.read()


def test_less_than_the_descriptor_says(fake: FakeRegistry, client: Client) -> None:
    fake.blobs["app", DESCRIPTOR.digest] = BLOB[:-1]
    with pytest.raises(RegistryError, match=r"ends after|answered 416|connection lost"):
        fetch(client)


def test_slow_drip(fake: FakeRegistry, client: Client) -> None:
    fake.fail("GET /v2/app/blobs", lambda r: drip(BLOB, 10, 0.05), times=2)
    started = time.monotonic()
    assert fetch(client) == BLOB
    assert time.monotonic() - started < 10


def test_missing_blob(client: Client) -> None:
    other = Descriptor(mediaType=OCI_LAYER, digest=Digest(digest_of(b"no")), size=2)
    with pytest.raises(NotFound, match=f"blob {other.digest}: not found"):
        fetch(client, descriptor=other)


def test_redirect_to_storage_that_forgets(
    fake: FakeRegistry, other_host: FakeRegistry, client: Client, partial: Path
) -> None:
    """A cut at the storage host restarts at the registry, which signs a fresh address."""
    signed = iter(range(10))
    fake.fail(
        "GET /v2/app/blobs",
        lambda r: Response("", 307, {"Location": f"{other_host.url}/s?n={next(signed)}"}),
        times=9,
    )

    def storage(request: Request) -> Response:
        assert "Authorization" not in request.headers
        if request.args["n"] == "0":
            return cut(BLOB, 1_500_000)
        if request.args["n"] == "1":
            return Response("expired", 403)
        start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
        span = {"Content-Range": f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"}
        return Response(BLOB[start:], 206 if start else 200, span if start else {})

    other_host.faults.append(storage)
    assert fetch(client, partial) == BLOB
    assert [seen.query for seen in other_host.seen] == ["n=0", "n=1", "n=2"]


def test_stop_ends_a_waiting_read(fake: FakeRegistry) -> None:
    options = quick_options()
    client = Client(fake.domain, "app", options)
    fake.fail("GET /v2/app/blobs", lambda r: drip(BLOB, 1000, 0.4), times=9)
    stream = BlobStream(client, "app", DESCRIPTOR)
    threading.Timer(0.3, lambda: (options.retry.stop.set(), stream.abort())).start()
    started = time.monotonic()
    with stream, pytest.raises(Cancelled):
        stream.read()
    assert time.monotonic() - started < 3


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kept=st.integers(0, 1000),
    cuts=st.lists(st.integers(0, 1000), max_size=3),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=5),
)
def test_any_mixture_gives_the_blob(
    fake: FakeRegistry, tmp_path: Path, kept: int, cuts: list[int], sizes: list[int]
) -> None:
    blob = noise(1000, seed=1)
    described = Descriptor.of(blob, OCI_LAYER)
    fake.faults.clear()
    for after in cuts:

        def answer(request: Request, after: int = after) -> Response:
            start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
            span = f"bytes {start}-{len(blob) - 1}/{len(blob)}"
            return cut(blob[start:], after, status=206 if start else 200, Content_Range=span)

        fake.fail("GET /v2/app/blobs", answer)
    fake.blobs["app", described.digest] = blob
    partial = tmp_path / "mixture"
    partial.write_bytes(blob[:kept])
    client = Client(fake.domain, "app", quick_options())
    read = b""
    with BlobStream(client, "app", described, partial) as stream:
        for turn in range(10_000):
            piece = stream.read(sizes[turn % len(sizes)])
            if not piece:
                break
            read += piece
    assert read == blob
    assert partial.read_bytes() == blob
