"""One blob into a registry: found there, mounted from another repository, or uploaded.

Source: OCI distribution specification 1.1, "Pushing Blobs". The upload's address is the registry's
secret: it may be relative, carry a query, and change with every answer; the newest one counts.
"""

from __future__ import annotations

import enum
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, BinaryIO
from urllib.parse import quote, urlsplit, urlunsplit

from layertool.errors import NotFound, RegistryError
from layertool.oci.model import Descriptor
from layertool.transport.registry.client import Client, StatusError
from layertool.transport.registry.endpoint import follow
from layertool.transport.registry.retry import TransientError
from layertool.transport.registry.wire import Answer

# Above this a blob goes up in chunks, so that a cut connection costs one chunk and not gigabytes;
# registries behind Cloudflare refuse bodies of more than 100 MB.
CHUNK = 64 << 20
_MOST_CHUNK = 1 << 30  # what a registry may demand as its least chunk
_PIECE = 1 << 18  # bytes read from a blob at once
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")


class Outcome(enum.Enum):
    """What it took to have the blob there."""

    EXISTS = "already exists"
    MOUNTED = "mounted"
    UPLOADED = "pushed"


class Uploader:
    """Puts blobs into one repository; blobs larger than `chunk` bytes go up in pieces."""

    def __init__(self, client: Client, repository: str, *, chunk: int = CHUNK) -> None:
        self._client = client
        self._repository = repository
        self._chunk = chunk

    def put(
        self,
        descriptor: Descriptor,
        open_blob: Callable[[], BinaryIO],
        *,
        mounts: Sequence[str] = (),
        sent: Callable[[int], None] = lambda size: None,
    ) -> Outcome:
        """Have the blob in the repository.

        `open_blob` gives its bytes, seekable, each time that they must be sent again. `mounts` are
        repositories of the same registry that may have it. `sent` is told how far an upload is, in
        bytes; after a failure it starts from less.
        """
        if self.has(descriptor):
            return Outcome.EXISTS
        for source in mounts:
            if self._mount(descriptor, source):
                return Outcome.MOUNTED
        self.upload(descriptor, open_blob, sent=sent)
        return Outcome.UPLOADED

    def upload(
        self,
        descriptor: Descriptor,
        open_blob: Callable[[], BinaryIO],
        *,
        sent: Callable[[int], None] = lambda position: None,
    ) -> None:
        """Send the blob, whether the repository has it or not."""
        _Upload(self._client, self._repository, descriptor, open_blob, sent).run(self._chunk)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the repository has the blob."""
        try:
            answer = self._client.call(
                "HEAD",
                f"/v2/{self._repository}/blobs/{descriptor.digest}",
                what=f"blob {descriptor.digest}",
                scopes=push_scopes(self._repository),
            )
        except NotFound:
            return False
        answer.close()
        return True

    def _mount(self, descriptor: Descriptor, source: str) -> bool:
        """Ask for a blob of another repository; a registry that will not starts an upload."""
        answer = self._client.call(
            "POST",
            f"/v2/{self._repository}/blobs/uploads/"
            f"?mount={descriptor.digest}&from={quote(source, safe='')}",
            what=f"blob {descriptor.digest}",
            # The token for a mount must also say that we may read the other repository.
            scopes=(*push_scopes(self._repository), f"repository:{source}:pull"),
            expect=(201, 202),
            body=b"",
        )
        answer.close()
        if answer.status == 202:
            _cancel(self._client, self._repository, answer)
        return answer.status == 201


def push_scopes(repository: str) -> tuple[str, ...]:
    """What a token must allow for a push; pull too, because HEAD comes first."""
    return (f"repository:{repository}:pull,push",)


@dataclass(slots=True)
class _Session:
    """An upload that the registry has opened: where it goes on, and the smallest chunk it takes."""

    url: str
    least_chunk: int


class _Upload:
    def __init__(
        self,
        client: Client,
        repository: str,
        descriptor: Descriptor,
        open_blob: Callable[[], BinaryIO],
        sent: Callable[[int], None],
    ) -> None:
        self._client = client
        self._repository = repository
        self._descriptor = descriptor
        self._open_blob = open_blob
        self._sent = sent
        self._what = f"blob {descriptor.digest}"
        self._scopes = push_scopes(repository)

    def run(self, chunk: int) -> None:
        if self._descriptor.size > chunk:
            self._in_chunks(chunk)
            return
        try:
            self._client.retry.run(self._at_once)
        except StatusError as refused:
            if refused.status != 413:
                raise
            # Content too large for something between us and the registry: try smaller bites.
            self._in_chunks(max(1, min(chunk, self._descriptor.size // 2)))

    def _at_once(self) -> None:
        """POST and one PUT: the way that every registry knows. A new upload for each try."""
        session = self._start()
        try:
            self._finish(session, 0)
        except RegistryError:
            _cancel_url(self._client, session.url, self._scopes)
            raise

    def _in_chunks(self, chunk: int) -> None:
        session = self._client.retry.run(self._start)
        chunk = max(chunk, session.least_chunk)
        offset, attempt = 0, 1
        while offset < self._descriptor.size:
            size = min(chunk, self._descriptor.size - offset)
            try:
                offset = self._patch(session, offset, size)
                attempt = 1
            except TransientError as failure:
                self._client.retry.pause(failure, attempt)
                attempt += 1
                session, offset = self._resume(session)
        self._client.retry.run(lambda: self._finish(session, offset))

    def _start(self) -> _Session:
        answer = self._client.call_once(
            "POST",
            f"/v2/{self._repository}/blobs/uploads/",
            what=self._what,
            scopes=self._scopes,
            expect=(202,),
            body=b"",
        )
        answer.close()
        least = answer.headers.get("OCI-Chunk-Min-Length", "0")
        least_chunk = min(int(least[:12]), _MOST_CHUNK) if least.isdecimal() else 0
        return _Session(self._location(answer), least_chunk)

    def _patch(self, session: _Session, offset: int, size: int) -> int:
        """Send one chunk; the offset that the registry has now reached."""
        answer = self._client.call_once(
            "PATCH",
            session.url,
            what=self._what,
            scopes=self._scopes,
            expect=(202, 416),
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Length": str(size),
                # Not HTTP's Content-Range: this one has no unit and no total.
                "Content-Range": f"{offset}-{offset + size - 1}",
            },
            body=lambda: self._body(offset, size),
        )
        answer.close()
        if answer.status == 416:
            raise TransientError(f"{self._what}: the registry has another offset than {offset}")
        session.url = self._location(answer)
        return self._reached(answer, offset + size)

    def _resume(self, session: _Session) -> tuple[_Session, int]:
        """Where an interrupted upload goes on: at the registry's offset, or from the start."""
        try:
            answer = self._client.call(
                "GET", session.url, what=self._what, scopes=self._scopes, expect=(204,)
            )
        except (NotFound, StatusError):
            # docker-registry does not know an upload again whose last request broke off.
            return self._client.retry.run(self._start), 0
        answer.close()
        if "Location" in answer.headers:
            session.url = self._location(answer)
        return session, self._reached(answer, 0)

    def _finish(self, session: _Session, offset: int) -> None:
        """PUT what is left, all or nothing, with the digest that the registry must find."""
        size = self._descriptor.size - offset
        answer = self._client.call_once(
            "PUT",
            _with_digest(session.url, self._descriptor.digest),
            what=self._what,
            scopes=self._scopes,
            expect=(201, 202, 204),
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            body=(lambda: self._body(offset, size)) if size else b"",
        )
        answer.close()

    def _reached(self, answer: Answer, default: int) -> int:
        """The offset that a Range header `0-LAST` means, `default` when there is none.

        "0-0" is how registries write that they have nothing, too.
        """
        found = _RANGE.fullmatch(answer.headers.get("Range", ""))
        if found is None:
            return default
        last = int(found[1])
        reached = last + 1 if last else 0
        if reached > self._descriptor.size:
            raise RegistryError(f"{self._what}: the registry claims to have more than was sent")
        return reached

    def _location(self, answer: Answer) -> str:
        location = answer.headers.get("Location")
        if not location:
            raise RegistryError(f"{self._what}: the registry says not where to upload")
        return follow(answer.url, location, self._client.options.trust)

    def _body(self, offset: int, size: int) -> IO[bytes]:
        part = _Part(self._open_blob(), offset, size, self._sent)
        return io.BufferedReader(part, _PIECE)


class _Part(io.RawIOBase):
    """`size` bytes of a file from `offset`, telling how far it is read."""

    def __init__(self, file: BinaryIO, offset: int, size: int, sent: Callable[[int], None]) -> None:
        super().__init__()
        file.seek(offset)
        self._file = file
        self._end = offset + size
        self._left = size
        self._sent = sent

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        self._sent(self._end - self._left)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _with_digest(url: str, digest: str) -> str:
    parts = urlsplit(url)
    # The registry's query is state of its own and stays as it is, byte for byte.
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}digest={digest}", fragment=""))


def _cancel(client: Client, repository: str, answer: Answer) -> None:
    location = answer.headers.get("Location")
    if location:
        url = follow(answer.url, location, client.options.trust)
        _cancel_url(client, url, push_scopes(repository))


def _cancel_url(client: Client, url: str, scopes: Sequence[str]) -> None:
    """Tell the registry to drop an upload; one that will not keeps it until it expires."""
    try:
        client.call_once(
            "DELETE", url, what="upload", scopes=scopes, expect=(200, 202, 204, 404)
        ).close()
    except (RegistryError, NotFound):
        pass
