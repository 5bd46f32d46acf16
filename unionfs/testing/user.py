"""One user of a union under load: random work on files, and what each must contain afterwards.

A user owns the directory u<N> of the union and keeps a model of it in memory: every name, and the
bytes behind it. What is read is compared with the model, byte by byte.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

FILES, FILE_MAX = 120, 64 << 10
DIRECTORIES = ("a", "b", "c")
SHARED, SHARED_SIZE = 64, 16 << 10
# How a mount says that its daemon is gone; EIO is what a write gets that the kernel had put off.
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ESTALE)


def shared_bytes(number: int) -> bytes:
    """The content of the file shared/<number>, which all users read and nobody changes."""
    return random.Random(number).randbytes(SHARED_SIZE)


@dataclass
class Content:
    """The bytes of one file, shared by its hard links.

    synced: they are on disk (fsync). unsure: a call that changes them was not answered.
    """

    data: bytearray
    synced: bool = True
    unsure: bool = False


@dataclass
class Report:
    """What a user did: calls by kind, and what was wrong, as lines for people."""

    calls: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    gone: bool = False


class Wrong(Exception):
    """The union answered something that cannot be; the message says what."""


class User:
    """Works in its directory, which is the current one after `enter`."""

    def __init__(self, number: int, seed: int, directory_size: int) -> None:
        self.number = number
        self.random = random.Random(f"{seed}/{number}")
        self.directory_size = directory_size
        self.names: dict[str, Content] = {}
        self.directories = list(DIRECTORIES)
        self.serial = 0
        self.touched: tuple[str, ...] = ()
        self.held: list[int] = []

    # --- what is in the lower layer ---

    def populate(self, lower: str) -> None:
        """Make the directory as a lower layer has it, so that the first changes are copy-ups."""
        home = os.path.join(lower, f"u{self.number}")
        for directory in ("", *DIRECTORIES):
            os.mkdir(os.path.join(home, directory))
            for _ in range(FILES // 6):
                path = self.fresh(directory)
                self.names[path] = Content(bytearray(self.noise()))
                with open(os.path.join(home, path), "wb") as file:
                    file.write(self.names[path].data)

    # --- the calls of the load ---

    def enter(self, root: str) -> None:
        """Go to work in the union mounted at root."""
        os.chdir(os.path.join(root, f"u{self.number}"))

    def leave(self) -> None:
        """Give up everything that keeps the mount busy."""
        self.release()
        os.chdir("/")

    def work(self, seconds: float, stop: Callable[[], bool], *, mapped: bool = True) -> Report:
        """Random calls until the time is over or stop() says so.

        mapped=False leaves out writing through mappings: a mapping of a mount whose daemon is
        killed answers with SIGBUS, as any file system does whose disk is gone.
        """
        report = Report()
        actions = [action for action in WORK if mapped or action is not User.map]
        weights = [WORK[action] for action in actions]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not stop():
            (action,) = self.random.choices(actions, weights)
            if not self.attempt(report, action):
                break
        return report

    def attempt(self, report: Report, action: Callable[[User], None]) -> bool:
        """Do one thing; False when there is no point in going on."""
        name = action.__name__
        self.touched = ()
        report.calls[name] += 1
        try:
            action(self)
            self.touched = ()
        except Wrong as wrong:
            report.wrong.append(f"u{self.number} {name}: {wrong}")
        except OSError as error:
            self.doubt()
            if error.errno in GONE:
                report.gone = True
                return False
            report.wrong.append(f"u{self.number} {name} {' '.join(self.touched)}: {error}")
        return len(report.wrong) < 5

    def doubt(self) -> None:
        """Remember that a call was not answered: what it was about is no longer known."""
        for touched in self.touched:
            for path, content in self.names.items():
                if path == touched or path.startswith(touched + "/"):
                    content.unsure = True

    def verify(self, *, crashed: bool = False) -> Report:
        """Compare every name and every byte with the model.

        crashed: the daemon was killed, so only what was synced has to have its content; names are
        there all the same, for a call that was answered had reached the disk's file system.
        """
        report = Report()
        doubtful = {path for path, content in self.names.items() if content.unsure}
        listed = set(self.walk("."))
        for path in sorted((listed ^ self.names.keys()) - doubtful - set(self.touched)):
            state = "appeared" if path in listed else "is missing"
            if not (crashed and self.below_touched(path)):
                report.wrong.append(f"u{self.number}/{path} {state}")
        for path in sorted(listed & self.names.keys()):
            content = self.names[path]
            report.calls["verify"] += 1
            data = read_file(path)
            if not (crashed and (content.unsure or not content.synced)) and data != content.data:
                report.wrong.append(f"u{self.number}/{path}: {difference(data, content.data)}")
        report.calls["verify-synced"] = sum(
            content.synced and not content.unsure for content in self.names.values()
        )
        return report

    def below_touched(self, path: str) -> bool:
        """Whether a call that was not answered was about this path or a directory above it."""
        return any(path == each or path.startswith(each + "/") for each in self.touched)

    def hold(self, limit: int) -> Report:
        """Open distinct files of the big directory until refused or limit; keeps them open."""
        report = Report()
        for number in range(limit):
            try:
                self.held.append(os.open(f"../names/{number:06d}", os.O_RDONLY))
            except OSError as error:
                report.calls[f"refused {errno.errorcode[error.errno or 0]}"] += 1
                break
        report.calls["held"] = len(self.held)
        return report

    def release(self, count: int | None = None) -> None:
        """Close this many of the files that are held, or all."""
        for _ in range(len(self.held) if count is None else min(count, len(self.held))):
            os.close(self.held.pop())

    def walk_all(self, path: str) -> Report:
        """lstat everything below a path of the union; counts it."""
        report = Report()
        report.calls["walked"] = sum(1 for _ in self.walk(path))
        return report

    def walk(self, path: str) -> Iterator[str]:
        """The paths of all that is no directory below path, each looked at."""
        with os.scandir(path) as entries:
            for entry in entries:
                relative = os.path.normpath(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    yield from self.walk(relative)
                else:
                    os.lstat(relative)
                    yield relative

    # --- one thing to do, each ---

    def create(self) -> None:
        if len(self.names) >= FILES:
            return self.unlink()
        path = self.fresh(self.random.choice(["", *self.directories]))
        self.touched = (path,)
        self.names[path] = Content(bytearray(), synced=False, unsure=True)
        with open(path, "xb", buffering=0) as file:
            self.put(file.fileno(), path, 0, self.noise())
        self.names[path].unsure = False
        return None

    def overwrite(self) -> None:
        path = self.pick()
        offset = self.random.randrange(len(self.names[path].data) + 1)
        with open(path, "r+b", buffering=0) as file:
            self.put(file.fileno(), path, offset, self.noise(4096))

    def append(self) -> None:
        path = self.pick()
        with open(path, "ab", buffering=0) as file:
            self.put(file.fileno(), path, len(self.names[path].data), self.noise(4096))

    def put(self, fd: int, path: str, offset: int, data: bytes) -> None:
        """Write, and now and then have it on disk."""
        content = self.names[path]
        content.synced = False
        content.data[offset : offset + len(data)] = data
        if os.pwrite(fd, data, offset) != len(data):
            raise Wrong(f"{path}: a short write")
        if self.random.random() < 0.25:
            os.fsync(fd)
            content.synced = True

    def truncate(self) -> None:
        path = self.pick()
        content = self.names[path]
        size = self.random.randrange(FILE_MAX)
        content.synced = False
        os.truncate(path, size)
        content.data[:] = content.data[:size].ljust(size, b"\0")

    def read(self) -> None:
        path = self.pick()
        data = read_file(path)
        if data != self.names[path].data:
            raise Wrong(f"{path}: {difference(data, self.names[path].data)}")

    def read_shared(self) -> None:
        number = self.random.randrange(SHARED)
        data = read_file(f"../shared/{number}")
        if data != shared_bytes(number):
            raise Wrong(f"shared/{number}: {difference(data, shared_bytes(number))}")

    def map(self) -> None:
        """Change a file through a shared mapping, and read it back with read(2)."""
        path = self.pick()
        content = self.names[path]
        if not content.data:
            return
        offset = self.random.randrange(len(content.data))
        piece = self.noise(min(512, len(content.data) - offset))
        content.synced = False
        content.data[offset : offset + len(piece)] = piece
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            memory[offset : offset + len(piece)] = piece
            memory.flush()
        self.read_back(path)

    def read_back(self, path: str) -> None:
        """What was changed a moment ago must be what is read."""
        data = read_file(path)
        if data != self.names[path].data:
            raise Wrong(f"{path}: {difference(data, self.names[path].data)}")

    def rename(self) -> None:
        old, new = self.pick(), self.fresh(self.random.choice(["", *self.directories]))
        if self.random.random() < 0.3:
            new = self.pick()
        if self.names[old] is self.names.get(new):
            return  # rename(2) does nothing with two names of one file
        self.touched = (old, new)
        os.rename(old, new)
        self.names[new] = self.names.pop(old)

    def rename_directory(self) -> None:
        old = self.random.choice(self.directories)
        new = self.fresh("").replace("f", "d")
        self.touched = (old, new)
        try:
            os.rename(old, new)
        except OSError as error:
            if error.errno == errno.EXDEV:
                return  # without redirects a merged directory stays where it is
            raise
        self.directories[self.directories.index(old)] = new
        moved = [path for path in self.names if path.startswith(old + "/")]
        for path in moved:
            self.names[new + path.removeprefix(old)] = self.names.pop(path)

    def link(self) -> None:
        if len(self.names) >= FILES:
            return self.unlink()
        old, new = self.pick(), self.fresh("")
        self.touched = (old, new)
        os.link(old, new)
        self.names[new] = self.names[old]
        return None

    def unlink(self) -> None:
        path = self.pick()
        os.unlink(path)
        del self.names[path]

    def chmod(self) -> None:
        os.chmod(self.pick(), self.random.choice([0o600, 0o644, 0o755]))

    def listing(self) -> None:
        listed = sorted(os.listdir("."))
        wanted = {path.partition("/")[0] for path in self.names} | set(self.directories)
        if listed != sorted(wanted):
            raise Wrong(f"the listing differs in {sorted(wanted.symmetric_difference(listed))}")

    def big_listing(self) -> None:
        names = os.listdir("../names")
        if len(names) != self.directory_size or len(set(names)) != self.directory_size:
            raise Wrong(f"names/ lists {len(names)} names, {len(set(names))} of them different")

    # --- choices ---

    def pick(self) -> str:
        """A file of the model; there is always one."""
        if not self.names:
            self.create()
        path = self.random.choice(list(self.names))
        self.touched = (path,)
        return path

    def fresh(self, directory: str) -> str:
        """A name that was never used."""
        self.serial += 1
        return os.path.join(directory, f"f{self.serial}")

    def noise(self, most: int = FILE_MAX) -> bytes:
        """Random bytes; mostly little, as files are."""
        return self.random.randbytes(
            self.random.randint(1, max(1, most >> self.random.randrange(6)))
        )


WORK: dict[Callable[[User], Any], float] = {
    User.create: 12,
    User.overwrite: 12,
    User.append: 8,
    User.truncate: 4,
    User.read: 20,
    User.read_shared: 10,
    User.map: 5,
    User.rename: 10,
    User.rename_directory: 0.5,
    User.link: 5,
    User.unlink: 8,
    User.chmod: 3,
    User.listing: 3,
    User.big_listing: 0.05,
}


def read_file(path: str) -> bytes:
    """All of a file."""
    with open(path, "rb", buffering=0) as file:
        return file.read()


def difference(found: bytes, wanted: bytes | bytearray) -> str:
    """Where two contents differ first."""
    at = next(
        (n for n, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b),
        min(len(found), len(wanted)),
    )
    return f"{len(found)} bytes, not {len(wanted)}; wrong from byte {at}"
