"""Load: many processes at once on one union, and the accidents that happen under load.

Phases, each on the same layers and the same upper: mixed work; every inode known, then forgotten;
work while the daemon has hardly a descriptor left; an unmount under load; the daemon's death under
load. After each, every user compares all that it owns (see `user`).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from unionfs.errors import UnionError
from unionfs.testing.drivers import Driver, Stack
from unionfs.testing.memory import Curve, resident
from unionfs.testing.mounts import Mounted, await_exit, umount
from unionfs.testing.place import abort_connections
from unionfs.testing.user import SHARED, Report, User, shared_bytes

PER_DIRECTORY = 1000
PATIENCE_S = 120.0
ACCIDENT_S = 3.0
DESCRIPTORS, SPARE = 768, 128
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Size:
    """How much load: processes, seconds of mixed work, inodes in all, names in one directory."""

    processes: int = 8
    seconds: float = 600
    inodes: int = 100_000
    names: int = 100_000
    seed: int = 1


@dataclass
class Result:
    """What was seen: lines for people, and what was wrong; nothing wrong means that it held."""

    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    curve: Curve = field(default_factory=Curve)


class Crowd:
    """The users, each in a process of its own that keeps its model from phase to phase."""

    def __init__(self, users: Iterable[User], tick: Callable[[], None]) -> None:
        self.tick = tick
        self.stop: Event = FORK.Event()
        self.processes: list[Any] = []
        self.channels: list[Connection] = []
        for user in users:
            ours, theirs = multiprocessing.Pipe()
            inherited = [*self.channels, ours]
            arguments = (user, theirs, self.stop, inherited)
            process = FORK.Process(target=serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self.processes.append(process)
            self.channels.append(ours)

    def start(self, call: str, *arguments: Any, only: int | None = None, **named: Any) -> None:
        """Have every user, or only one, do something; `answers` waits for it."""
        for channel in self.channels if only is None else [self.channels[only]]:
            channel.send((call, arguments, named))

    def answers(self, *, only: int | None = None, seconds: float = 0) -> list[Report]:
        """One report for each user asked, due after so many seconds.

        Raises UnionError when one hangs or has died.
        """
        waiting = list(self.channels if only is None else [self.channels[only]])
        reports = []
        patience = seconds + PATIENCE_S
        deadline = time.monotonic() + patience
        while waiting:
            self.tick()
            for ready in wait(waiting, 0.1):
                assert isinstance(ready, Connection)
                try:
                    reports.append(ready.recv())
                except EOFError:
                    raise UnionError(f"user {self.channels.index(ready)} died") from None
                waiting.remove(ready)
                deadline = time.monotonic() + patience
            if time.monotonic() > deadline:
                hanging = ", ".join(str(self.channels.index(each)) for each in waiting)
                raise UnionError(f"users {hanging} have not answered for {patience:.0f} s")
        return reports

    def all(self, call: str, *arguments: Any, **named: Any) -> list[Report]:
        """start and answers."""
        self.start(call, *arguments, **named)
        return self.answers()

    def end(self) -> None:
        """No user is left, whatever it does."""
        for process, channel in zip(self.processes, self.channels, strict=True):
            channel.close()
            process.kill()
            process.join(5)


def serve(user: User, channel: Connection, stop: Event, inherited: list[Connection]) -> None:
    """A user's process: do what the channel says until it closes, as it does when the lab dies."""
    for other in inherited:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    with contextlib.suppress(EOFError):
        while True:
            call, arguments, named = channel.recv()
            if call == "work":
                named["stop"] = stop.is_set
            channel.send(getattr(user, call)(*arguments, **named) or Report())


class Load:
    """One run. base is an empty directory; run() answers what was seen."""

    def __init__(self, driver: Driver, size: Size, base: Path, say: Callable[[str], None]) -> None:
        self.size = size
        self.base = base
        self.say = say
        self.result = Result()
        self.lower = base / "lower"
        for name in ("lower", "upper", "work", "mnt"):
            (base / name).mkdir()
        paths = [str(base / name) for name in ("lower", "upper", "work", "mnt")]
        self.mounted = Mounted(driver, Stack((paths[0],), *paths[1:]))
        self.daemons: list[int] = []

    def run(self) -> Result:
        """All phases. What goes wrong ends the run and is in the result."""
        users = [User(n, self.size.seed, self.size.names) for n in range(self.size.processes)]
        self.populate(users)
        crowd = Crowd(users, self.tick)
        try:
            for phase in PHASES:
                if self.result.wrong:
                    break
                began = time.monotonic()
                phase(self, crowd)
                self.say(f"{phase.__name__.replace('_', ' ')}: {time.monotonic() - began:.1f} s")
        except UnionError as error:
            self.result.wrong.append(str(error))
        finally:
            self.clean(crowd)
        return self.result

    def populate(self, users: list[User]) -> None:
        """The lower layer: every user's files, shared ones, one big directory, many inodes."""
        began = time.monotonic()
        for number in range(SHARED):
            write(self.lower / "shared" / str(number), shared_bytes(number))
        for user in users:
            user.populate(str(self.lower))
        many(self.lower / "names", self.size.names)
        for first in range(0, max(0, self.size.inodes - self.size.names), PER_DIRECTORY):
            many(self.lower / "tree" / str(first), PER_DIRECTORY)
        self.say(f"layer with {self.size.inodes} inodes made: {time.monotonic() - began:.1f} s")

    # --- phases ---

    def mixed_work(self, crowd: Crowd) -> None:
        """Everybody works; then everything is as it should be, also after a remount."""
        self.mount(crowd)
        began = time.monotonic()
        crowd.start("work", self.size.seconds)
        calls = self.judge(crowd.answers(seconds=self.size.seconds))
        rate = sum(calls.values()) / (time.monotonic() - began)
        self.note(f"{sum(calls.values())} pieces of work by {self.size.processes} processes, "
                  f"{rate:.0f} a second: " + listed(calls))  # fmt: skip
        self.verify(crowd)
        if self.daemons and not self.result.curve.bounded():
            self.result.wrong.append("the daemon's memory goes on growing; see the curve")
        self.unmount(crowd)
        self.mount(crowd)
        self.verify(crowd)

    def known_inodes(self, crowd: Crowd) -> None:
        """Every inode is looked at; then the kernel forgets them all."""
        before = resident(self.daemons)
        walked = 0
        for place in ("../names", "../tree"):
            crowd.start("walk_all", place, only=0)
            walked += self.judge(crowd.answers(only=0))["walked"]
        known = resident(self.daemons)
        if not self.daemons:
            self.note(f"{walked} inodes looked at")
            return
        text = (
            f"{walked} inodes looked at: the daemon grew from {before >> 20} to {known >> 20} MiB"
        )
        text += f", {(known - before) / max(1, walked):.0f} bytes each"
        if drop_caches():
            text += f"; {settled(self.daemons) >> 20} MiB after the kernel forgot them"
        self.note(text)

    def few_descriptors(self, crowd: Crowd) -> None:
        """The daemon may open few files, most are taken, and work goes on with the rest."""
        self.unmount(crowd)
        mounting = FORK.Process(target=mount_with_few_descriptors, args=(self.mounted, DESCRIPTORS))
        mounting.start()
        mounting.join()
        self.move_in(crowd)
        crowd.start("hold", 4 * DESCRIPTORS, only=0)
        held = self.judge(crowd.answers(only=0))
        crowd.start("release", SPARE, only=0)
        crowd.answers(only=0)
        self.judge(crowd.all("work", ACCIDENT_S))
        crowd.start("release", only=0)
        crowd.answers(only=0)
        self.verify(crowd)
        self.note(f"with {DESCRIPTORS} descriptors for the daemon: {listed(held)}; then work with "
                  f"{SPARE} of them free")  # fmt: skip

    def unmount_under_load(self, crowd: Crowd) -> None:
        """A busy mount says so and is unharmed; detached, it serves who is in it to the end."""
        crowd.start("work", PATIENCE_S)
        time.sleep(ACCIDENT_S / 3)
        busy = not umount(self.mounted.path)
        time.sleep(ACCIDENT_S / 3)
        detached = umount(self.mounted.path, lazy=True)
        time.sleep(ACCIDENT_S / 3)
        crowd.stop.set()
        self.judge(crowd.answers())
        crowd.stop.clear()
        crowd.all("leave")
        left = await_exit(self.daemons, PATIENCE_S)
        if not busy or not detached or left:
            self.result.wrong.append(
                f"umount under load: busy {busy}, detached {detached}, daemons left {left}"
            )
        self.mount(crowd)
        self.verify(crowd)
        self.note("umount under load: busy, then detached lazily; nothing was lost")

    def death_under_load(self, crowd: Crowd) -> None:
        """SIGKILL of the daemon: umount recovers, and what was synced is there."""
        if not self.daemons:
            self.note("no daemon that could be killed")
            return
        crowd.start("work", PATIENCE_S, mapped=False)
        time.sleep(ACCIDENT_S)
        for pid in self.daemons:
            os.kill(pid, signal.SIGKILL)
        self.daemons = []
        time.sleep(ACCIDENT_S / 6)  # so that everybody meets it
        crowd.stop.set()
        reports = crowd.answers()
        self.judge(reports, gone=True)
        crowd.stop.clear()
        crowd.all("leave")
        if not umount(self.mounted.path):
            self.result.wrong.append("umount does not take away the mount of a killed daemon")
            umount(self.mounted.path, lazy=True)
        self.mount(crowd)
        checked = self.judge(crowd.all("verify", crashed=True))
        self.note(f"daemon killed under load: {sum(report.gone for report in reports)} users saw "
                  f"it, umount recovered, {checked['verify-synced']} synced files are intact")  # fmt: skip
        self.unmount(crowd)

    # --- helpers of the phases ---

    def mount(self, crowd: Crowd) -> None:
        """Mount, and send everybody in."""
        self.mounted.mount()
        self.move_in(crowd)

    def move_in(self, crowd: Crowd) -> None:
        """Send everybody into the mount."""
        self.daemons = self.mounted.daemons()
        crowd.all("enter", str(self.mounted.path))

    def unmount(self, crowd: Crowd) -> None:
        """Call everybody out, and unmount."""
        crowd.all("leave")
        self.mounted.unmount()
        self.daemons = []

    def verify(self, crowd: Crowd) -> None:
        """Everybody compares all it has."""
        self.judge(crowd.all("verify"))

    def judge(self, reports: Iterable[Report], *, gone: bool = False) -> Counter[str]:
        """Take over what was wrong; answers the calls of all. gone: the daemon may be lost."""
        calls: Counter[str] = Counter()
        for report in reports:
            calls.update(report.calls)
            self.result.wrong += report.wrong
            if report.gone and not gone:
                self.result.wrong.append("the daemon was gone, or a write was lost (EIO)")
        return calls

    def note(self, text: str) -> None:
        """A line of the result."""
        self.result.notes.append(text)

    def tick(self) -> None:
        """Called several times a second, whatever is waited for."""
        if self.daemons:
            self.result.curve.sample(self.daemons)

    def clean(self, crowd: Crowd) -> None:
        """Leave no process and no mount, whatever happened."""
        if self.result.wrong:
            abort_connections(os.getpid(), str(self.base))
        crowd.end()
        with contextlib.suppress(UnionError):
            self.mounted.unmount()


PHASES: tuple[Callable[[Load, Crowd], None], ...] = (
    Load.mixed_work,
    Load.known_inodes,
    Load.few_descriptors,
    Load.unmount_under_load,
    Load.death_under_load,
)


def write(path: Path, data: bytes) -> None:
    """A file, its directory made if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def many(directory: Path, count: int) -> None:
    """A directory of files of one byte."""
    directory.mkdir(parents=True)
    for number in range(count):
        fd = os.open(f"{directory}/{number:06d}", os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, b"x")
        os.close(fd)


def listed(calls: Counter[str]) -> str:
    """Calls and how many of each."""
    return ", ".join(f"{name} {count}" for name, count in calls.most_common())


def drop_caches() -> bool:
    """Have the kernel forget the inodes it knows; only root may (proc_sys_vm(5))."""
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as switch:
            switch.write("2")
    except OSError:
        return False
    return True


def settled(pids: list[int]) -> int:
    """Resident bytes once they change no more: forgets reach a daemon some time later."""
    last, now = -1, resident(pids)
    deadline = time.monotonic() + 10
    while now != last and time.monotonic() < deadline:
        time.sleep(0.5)
        last, now = now, resident(pids)
    return now


def mount_with_few_descriptors(mounted: Mounted, count: int) -> None:
    """Mount by a process that may open so many files, and so may all that it starts.

    A daemon raises its soft limit to the hard one, so the hard one is lowered, which is for ever:
    hence a process of its own. Raises UnionError when it cannot mount.
    """

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
        mounted.mount()

    process = FORK.Process(target=limited)
    process.start()
    process.join()
    if process.exitcode:
        raise UnionError(f"{mounted!r} cannot be mounted with {count} descriptors")
