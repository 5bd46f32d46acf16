"""A blob as it comes from a registry: one stream, whatever happens to the connections under it.

The bytes go to a partial file as they arrive. A later try, in this process or after a crash, reads
them from there and asks the registry for the rest with Range. Nothing here is trusted: whoever
reads the stream hashes it, the part from the file too.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path

from layertool.errors import BadDigest, RegistryError
from layertool.oci.model import Descriptor
from layertool.transport.registry.client import Client
from layertool.transport.registry.retry import Cancelled, TransientError
from layertool.transport.registry.wire import Answer

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_PIECE = 1 << 20  # bytes asked from the connection at once
# A try that brought this much does not count against the limit of tries: a large layer on a bad
# line may need many, a server that sends one byte and hangs up shall not be asked for ever.
_PROGRESS = 1 << 20


class BlobStream(io.RawIOBase):
    """The content of `descriptor` from the first byte to the last.

    `partial` keeps what has arrived and is where it goes on from; without one the stream lives only
    in this process, and still survives cut connections. `arrived` is told how far the
    stream is, in bytes. Raises RegistryError, BadDigest when the registry sends more
    than the descriptor says, Cancelled when the client's retry policy was stopped.
    """

    def __init__(
        self,
        client: Client,
        repository: str,
        descriptor: Descriptor,
        partial: Path | None = None,
        arrived: Callable[[int], None] = lambda position: None,
    ) -> None:
        super().__init__()
        self._client = client
        self._repository = repository
        self._descriptor = descriptor
        self._arrived = arrived
        self._position = 0
        self._answer: Answer | None = None
        self._attempt = 1
        self._since_failure = 0
        self._ranges = True
        self._file = _open_partial(partial) if partial is not None else None
        self._kept = self._kept_bytes()
        self.resumed_at = self._kept

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes (all that is left when negative), b"" at the end."""
        if size < 0:
            return self.readall()
        left = self._descriptor.size - self._position
        if left == 0:
            self._check_end()
            return b""
        if self._client.retry.stop.is_set():
            raise Cancelled(f"{self._descriptor.digest}: download stopped")
        wanted = min(size, left, _PIECE)
        data = self._read_kept(wanted) if self._position < self._kept else self._download(wanted)
        self._position += len(data)
        self._arrived(self._position)
        return data

    def abort(self) -> None:
        """Wake a read that another thread waits in; it ends with Cancelled or TransientError."""
        answer = self._answer
        if answer is not None:
            answer.abort()

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        if self._file is not None:
            os.close(self._file)
            self._file = None
        super().close()

    def _kept_bytes(self) -> int:
        """How much of the blob is in the partial file; a longer file is not this blob's."""
        if self._file is None:
            return 0
        kept = os.fstat(self._file).st_size
        if kept > self._descriptor.size:
            os.ftruncate(self._file, 0)
            return 0
        return kept

    def _read_kept(self, size: int) -> bytes:
        assert self._file is not None
        data = os.pread(self._file, min(size, self._kept - self._position), self._position)
        if not data:
            raise RegistryError(
                f"{self._descriptor.digest}: the partial download was cut by someone"
            )
        return data

    def _download(self, size: int) -> bytes:
        while True:
            try:
                if self._answer is None:
                    self._answer = self._open()
                data = self._answer.read(size)
                if not data:
                    raise TransientError(
                        f"{self._descriptor.digest}: ends after {self._position} of "
                        f"{self._descriptor.size} bytes"
                    )
            except TransientError as failure:
                self._after_failure(failure)
                continue
            self._since_failure += len(data)
            self._keep(data)
            return data

    def _keep(self, data: bytes) -> None:
        """Write through to the page cache: what has arrived survives kill -9."""
        if self._file is None:
            return
        view, offset = memoryview(data), self._position
        while view:
            written = os.pwrite(self._file, view, offset)
            view, offset = view[written:], offset + written

    def _after_failure(self, failure: TransientError) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        if self._since_failure >= _PROGRESS:
            self._attempt = 1
        self._since_failure = 0
        self._client.retry.pause(failure, self._attempt)
        self._attempt += 1

    def _open(self) -> Answer:
        """A response whose next byte is the one at our position."""
        start = self._position
        asked = start > 0 and self._ranges
        answer = self._client.call_once(
            "GET",
            f"/v2/{self._repository}/blobs/{self._descriptor.digest}",
            what=f"blob {self._descriptor.digest}",
            scopes=(f"repository:{self._repository}:pull",),
            expect=(200, 206, 416) if asked else (200,),
            headers={"Range": f"bytes={start}-"} if asked else {},
        )
        if answer.status == 200:
            # Ranges are optional for a server: what we have is skipped, not written again.
            self._skip(answer, start)
        elif not self._starts_at(answer, start):
            answer.close()
            self._ranges = False
            raise TransientError(
                f"{self._descriptor.digest}: asked for the bytes from {start} and got others; "
                "going on without ranges"
            )
        return answer

    def _starts_at(self, answer: Answer, start: int) -> bool:
        """Whether a 206 is the part that was asked for (RFC 9110 14.4)."""
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status != 206 or found is None:
            return False
        return int(found[1]) == start and found[3] in ("*", str(self._descriptor.size))

    def _skip(self, answer: Answer, size: int) -> None:
        while size:
            data = answer.read(min(size, _PIECE))
            if not data:
                answer.close()
                raise TransientError(
                    f"{self._descriptor.digest}: cut before the part that is missing"
                )
            size -= len(data)

    def _check_end(self) -> None:
        """Nothing may follow the last byte that the descriptor promises."""
        if self._answer is None:
            return
        try:
            more = self._answer.read(1)
        except TransientError:
            more = (
                b""  # complete by size and about to be hashed: how the connection ends is nothing
            )
        if more:
            raise BadDigest(
                f"{self._descriptor.digest}: the registry sends more than the "
                f"{self._descriptor.size} bytes of the manifest"
            )
        self._answer.close()
        self._answer = None


def _open_partial(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)
