"""Doing a trace's requests again on a mount, as system calls, until an answer differs.

What is not compared: times, inode numbers and directory sizes, which no two mounts share, and content
that the trace has only the length of. A request about an object without a name is done by an open
descriptor of it, and left out when there is none.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unionfs.errors import UnionError
from unionfs.testing import language as op
from unionfs.testing.bench import Bench, Lab
from unionfs.testing.calls import TYPES
from unionfs.testing.crew import Outcome
from unionfs.testing.drivers import Driver
from unionfs.testing.language import Operation
from unionfs.testing.layers import Layers
from unionfs.testing.tracefile import Record, Trace

Who = tuple[int, int]
ROOT: Who = (0, 0)
Judge = Callable[[Outcome], bool]

_ACCESS = {os.O_RDONLY: "RDONLY", os.O_WRONLY: "WRONLY", os.O_RDWR: "RDWR"}
_RENAME = {1: "noreplace", 2: "exchange", 4: "whiteout"}
# These follow a symlink in the last component of their path.
_FOLLOWING = (op.Open, op.Chmod, op.Truncate, op.ListDir)


@dataclass(frozen=True)
class Step:
    """One call to do: as whom, what the trace says of its answer, and how to judge the real one."""

    operation: Operation
    who: Who = ROOT
    recorded: Any = None
    agrees: Judge = lambda outcome: True


@dataclass(frozen=True)
class Deviation:
    """The first answer that differs."""

    line: int
    operation: Operation
    recorded: Any
    answered: Outcome

    def __str__(self) -> str:
        return (
            f"line {self.line}: {self.operation}\n"
            f"    recorded: {self.recorded}\n    answered: {self.answered}"
        )


@dataclass
class Replayed:
    """What came of it; *left_out* counts requests that no call stands for, such as forget."""

    done: int = 0
    left_out: int = 0
    deviation: Deviation | None = None


def replay(lab: Lab, driver: Driver, trace: Trace, lowers: Sequence[str] = ()) -> Replayed:
    """Replay on a fresh mount of the directories *lowers*, else of the layers in the trace.

    Raises UnionError when there are none, and for a trace that leads out of the mount.
    """
    layers = () if lowers else trace.layers()
    if layers is None:
        raise UnionError("the trace holds no layers, for they were too large; give --lower DIR")
    bench = Bench(lab, driver, layers)
    if lowers:
        if driver.mount is None:
            raise UnionError("a plain directory has no lower layers; replay on another driver")
        bench.stack = dataclasses.replace(bench.stack, lowers=tuple(lowers))
    with bench:
        return Replay(bench, trace, layers).run()


class Replay:
    """One trace on one mount."""

    def __init__(self, bench: Bench, trace: Trace, layers: Layers) -> None:
        self.bench = bench
        self.trace = trace
        self.translator = Translator(trace, layers)
        self.checked: set[str] = set()

    def run(self) -> Replayed:
        """Everything until an answer differs."""
        replayed = Replayed()
        for line, record in self.trace.requests:
            try:
                steps = self.translator.steps(record)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise UnionError(f"line {line}: not a request of a trace: {error!r}") from None
            if not steps:
                replayed.left_out += 1
                continue
            replayed.done += 1
            for step in steps:
                self.guard(line, step.operation)
                outcome = self.perform(step)
                if not step.agrees(outcome):
                    replayed.deviation = Deviation(line, step.operation, step.recorded, outcome)
                    return replayed
        return replayed

    def perform(self, step: Step) -> Outcome:
        """Do one call, by the actor with these ids."""
        outcome: Outcome = self.bench.place.call(
            "perform",
            root=self.bench.root,
            who=0,
            uid=step.who[0],
            gid=step.who[1],
            verb=step.operation.verb,
            arguments=step.operation.arguments(),
        )
        return outcome

    def guard(self, line: int, operation: Operation) -> None:
        """Refuse to go through a symlink: our own traces never do, and it may lead anywhere.

        The union is asked for an object itself, whose path has only directories in it.
        """
        if isinstance(operation, (op.Rename, op.Unlink, op.Rmdir, op.Symlink, op.Link)):
            self.checked.clear()
        for field in ("path", "source", "target"):
            path = getattr(operation, field, None)
            if isinstance(operation, op.Symlink) and field == "target":
                continue
            if isinstance(path, str):
                last = "file" if isinstance(operation, op.Open) else "any"
                self.walk(line, path, last if isinstance(operation, _FOLLOWING) else "")

    def walk(self, line: int, path: str, last: str) -> None:
        """Look at each directory of a path, and at the path itself unless *last* is empty."""
        parts = path.split("/")
        for depth in range(1, len(parts) + bool(last)):
            prefix = "/".join(parts[:depth])
            if prefix in self.checked:
                continue
            found = self.perform(Step(op.Stat(prefix))).get("result", {}).get("type")
            if found == "dir":
                self.checked.add(prefix)
            wanted = ("file", None) if last == "file" and depth == len(parts) else (found,)
            if found == "symlink" or found not in wanted:
                raise UnionError(f"line {line}: {prefix!r} is a {found}; our traces do not do that")


class Translator:
    """Turns requests into calls; remembers which descriptors are open."""

    def __init__(self, trace: Trace, layers: Layers) -> None:
        self.anonymised = trace.anonymised
        self.unread = {e.path for layer in layers for e in layer if e.size is not None}
        self.unknown: set[int] = set()
        """Numbers of files whose content the trace does not have."""
        self.slots: dict[int, list[tuple[int, str, Who]]] = {}
        self.serial = 0
        self.umasks: dict[Who, int] = {}
        self.directories: dict[int, str] = {}
        self.listings = complete_listings(trace)

    def steps(self, record: Record) -> list[Step]:
        """The calls of one request; none for what a program cannot ask for."""
        if record.get("path") in self.unread and "id" in record:
            self.unknown.add(record["id"])
        translate = getattr(self, f"do_{record['op']}", None)
        return list(translate(record)) if translate else []

    # --- names ---

    def do_lookup(self, record: Record) -> Iterator[Step]:
        yield self.answer(record, op.Stat(record["path"]), self.looks_like(record))

    def do_mkdir(self, record: Record) -> Iterator[Step]:
        yield from self.make(record, op.Mkdir(record["path"], stat.S_IMODE(record["mode"])))

    def do_mknod(self, record: Record) -> Iterator[Step]:
        mode, rdev = record["mode"], record["rdev"]
        kind = TYPES[stat.S_IFMT(mode) or stat.S_IFREG]
        node = op.Mknod(record["path"], kind, stat.S_IMODE(mode), os.major(rdev), os.minor(rdev))
        yield from self.make(record, node)

    def do_symlink(self, record: Record) -> Iterator[Step]:
        yield from self.make(record, op.Symlink(record["target"], record["path"]))

    def do_link(self, record: Record) -> Iterator[Step]:
        if record["path"] is not None:
            yield self.answer(record, op.Link(record["path"], record["new path"]))

    def do_create(self, record: Record) -> Iterator[Step]:
        access = _ACCESS[record["flags"] & os.O_ACCMODE]
        slot = self.serial = self.serial + 1
        flags = f"{access}|CREAT|EXCL"
        yield from self.make(
            record, op.Open(slot, record["path"], flags, stat.S_IMODE(record["mode"]))
        )
        if "errno" not in record:
            who = self.who(record)
            self.slots.setdefault(record["id"], []).append((slot, access, who))

    def do_unlink(self, record: Record) -> Iterator[Step]:
        yield self.answer(record, op.Unlink(record["path"]))

    def do_rmdir(self, record: Record) -> Iterator[Step]:
        yield self.answer(record, op.Rmdir(record["path"]))

    def do_rename(self, record: Record) -> Iterator[Step]:
        flags = "|".join(name for bit, name in _RENAME.items() if record["flags"] & bit)
        yield self.answer(record, op.Rename(record["path"], record["new path"], flags))

    def do_readlink(self, record: Record) -> Iterator[Step]:
        if record["path"] is not None:
            yield self.answer(record, op.Readlink(record["path"]), exactly(record.get("result")))

    # --- attributes ---

    def do_getattr(self, record: Record) -> Iterator[Step]:
        if record["path"] is not None:
            yield from self.do_lookup(record)
            return
        for slot, who in self.any_slot(record["id"]):
            yield self.answer(record, op.Fstat(slot), self.looks_like(record), who)

    def do_setattr(self, record: Record) -> Iterator[Step]:
        path, wanted = record["path"], record["set"]
        for slot, who in [(0, ROOT)] if path is not None else self.any_slot(record["id"]):
            calls = list(self.settings(path, slot, wanted))
            for call in calls[:-1]:
                yield Step(call, who)
            for call in calls[-1:]:
                yield self.answer(record, call, who=who)
                if path is not None and "errno" not in record:
                    yield self.answer(record, op.Stat(path), self.looks_like(record))

    def settings(self, path: str | None, slot: int, wanted: Record) -> Iterator[Operation]:
        """The calls that one setattr stands for, as the kernel merges them."""
        if "uid" in wanted or "gid" in wanted:
            ids = wanted.get("uid", -1), wanted.get("gid", -1)
            yield op.Fchown(slot, *ids) if path is None else op.Chown(path, *ids)
        if "size" in wanted:
            size = wanted["size"]
            yield op.Ftruncate(slot, size) if path is None else op.Truncate(path, size)
        if "mode" in wanted:
            mode = stat.S_IMODE(wanted["mode"])
            yield op.Fchmod(slot, mode) if path is None else op.Chmod(path, mode)
        if "atime" in wanted and "mtime" in wanted:
            times = wanted["atime"], wanted["mtime"]
            yield op.Futimens(slot, *times) if path is None else op.Utimens(path, *times)

    def do_setxattr(self, record: Record) -> Iterator[Step]:
        if record["path"] is not None:
            call = op.SetXattr(record["path"], record["xattr"], record["value"])
            yield self.answer(record, call)

    def do_getxattr(self, record: Record) -> Iterator[Step]:
        if record["path"] is not None:
            call = op.GetXattr(record["path"], record["xattr"])
            judge = self.same_content(record.get("result", ""), known=not self.anonymised)
            yield self.answer(record, call, judge)

    def do_listxattr(self, record: Record) -> Iterator[Step]:
        if record["path"] is not None and self.who(record) == ROOT:
            names = sorted(record.get("result", []))
            yield self.answer(record, op.ListXattrs(record["path"]), exactly(names))

    def do_removexattr(self, record: Record) -> Iterator[Step]:
        if record["path"] is not None:
            yield self.answer(record, op.RemoveXattr(record["path"], record["xattr"]))

    def do_statfs(self, record: Record) -> Iterator[Step]:
        yield self.answer(record, op.NameMax("."), exactly(record.get("namemax")))

    # --- files ---

    def do_open(self, record: Record) -> Iterator[Step]:
        path, flags = record["path"], record["flags"]
        access = _ACCESS[flags & os.O_ACCMODE]
        names = f"{access}|TRUNC" if flags & os.O_TRUNC else access
        slot = self.serial = self.serial + 1
        if path is not None:
            yield self.answer(record, op.Open(slot, path, names))
            who = ROOT
        else:
            for source, who in self.any_slot(record["id"]):
                yield self.answer(record, op.Reopen(slot, source, names), who=who)
                break
            else:
                return
        if "errno" not in record:
            self.slots.setdefault(record["id"], []).append((slot, access, who))

    def do_read(self, record: Record) -> Iterator[Step]:
        for slot, who in self.any_slot(record["id"], "RDONLY", "RDWR"):
            known = not self.anonymised and record["id"] not in self.unknown
            judge = self.same_content(record.get("result", ""), known=known)
            yield self.answer(record, op.Read(slot, record["size"], record["offset"]), judge, who)

    def do_write(self, record: Record) -> Iterator[Step]:
        data, times = record.get("data", ""), 1
        if "data" not in record:
            self.unknown.add(record["id"])
            data, times = "?", record["size"]
        for slot, who in self.any_slot(record["id"], "WRONLY", "RDWR"):
            call = op.Write(slot, data, times, record["offset"])
            yield self.answer(record, call, exactly(record.get("result")), who)

    def do_fsync(self, record: Record) -> Iterator[Step]:
        for slot, who in self.any_slot(record["id"]):
            yield self.answer(record, op.Fsync(slot), who=who)

    def do_release(self, record: Record) -> Iterator[Step]:
        slots = self.slots.get(record["id"])
        if slots:
            slot, _, who = slots.pop(0)
            yield Step(op.Close(slot), who)

    # --- directories ---

    def do_opendir(self, record: Record) -> Iterator[Step]:
        if record["path"] is not None and "listing" in record:
            self.directories[record["listing"]] = record["path"]
        return iter(())

    def do_readdir(self, record: Record) -> Iterator[Step]:
        path = self.directories.get(record["listing"])
        if record["start"] == 0 and "errno" not in record:
            names = self.listings.pop(0)
            if path is not None and names is not None:
                yield Step(op.ListDir(path), ROOT, names, lists(names))

    # --- parts ---

    def who(self, record: Record) -> Who:
        uid, gid, _ = record["who"]
        return uid, gid

    def make(self, record: Record, call: Operation) -> Iterator[Step]:
        """Make an object as its owner, whose umask counts, and look at it."""
        uid, gid, umask = record["who"]
        who = (uid, gid)
        if self.umasks.get(who) != umask:
            self.umasks[who] = umask
            yield Step(op.Umask(umask), who)
        yield self.answer(record, call, who=who)
        if "errno" not in record:
            yield self.answer(record, op.Stat(record["path"]), self.looks_like(record))

    def any_slot(self, number: int, *access: str) -> list[tuple[int, Who]]:
        """The newest descriptor of a file that can do one of *access*, in a list; empty for none."""
        found = [
            (slot, who)
            for slot, can, who in self.slots.get(number, [])
            if not access or can in access
        ]
        return found[-1:]

    def answer(
        self, record: Record, call: Operation, judge: Judge | None = None, who: Who = ROOT
    ) -> Step:
        """A call that must answer as the request was answered."""
        code = record.get("errno")
        if code is not None:
            return Step(call, who, code, lambda outcome: outcome.get("errno") == code)
        recorded = record.get("attr", record.get("result", "success"))
        return Step(call, who, recorded, judge or (lambda outcome: "result" in outcome))

    def same_content(self, recorded: str, *, known: bool) -> Judge:
        """The same bytes, or as many when only that is known."""

        def agrees(outcome: Outcome) -> bool:
            answered = str(outcome.get("result", ""))
            if known:
                return answered == recorded
            return answered.partition(":")[0] == recorded.partition(":")[0]

        return agrees

    def looks_like(self, record: Record) -> Judge:
        """The same attributes, as far as two mounts can have the same."""
        attr = record.get("attr", {})
        wanted = expected_status(attr) if attr else {}
        if self.anonymised and wanted.get("type") == "symlink":
            del wanted["size"]  # hashes have other lengths than names
        if record.get("path") == ".":
            wanted = {"type": "dir"}  # the lab's own layers have other roots

        def agrees(outcome: Outcome) -> bool:
            found = outcome.get("result")
            return isinstance(found, dict) and all(found.get(n) == v for n, v in wanted.items())

        return agrees


def expected_status(attr: Record) -> Record:
    """What `calls.stat_result` says of an object with these attributes, without what may differ."""
    kind = TYPES[stat.S_IFMT(attr["mode"])]
    status = {
        "type": kind,
        "mode": f"{stat.S_IMODE(attr['mode']):04o}",
        "uid": attr["uid"],
        "gid": attr["gid"],
        "rdev": f"{os.major(attr['rdev'])}:{os.minor(attr['rdev'])}",
    }
    if kind != "dir":
        status |= {"size": attr["size"], "nlink": attr["nlink"]}
    return status


def exactly(wanted: Any) -> Judge:
    """This answer and no other."""
    return lambda outcome: "result" in outcome and outcome["result"] == wanted


def lists(names: Sequence[str]) -> Judge:
    """These names, in whatever order."""

    def agrees(outcome: Outcome) -> bool:
        return sorted(item.rpartition(" ")[0] for item in outcome.get("result", [])) == list(names)

    return agrees


def complete_listings(trace: Trace) -> list[list[str] | None]:
    """For each listing that was begun, in order, its sorted names; None when it was not read to the end."""
    begun: list[list[str]] = []
    ended: list[bool] = []
    current: dict[int, int] = {}
    for _, record in trace.requests:
        if record["op"] != "readdir" or "errno" in record:
            continue
        if record["start"] == 0:
            current[record["listing"]] = len(begun)
            begun.append([])
            ended.append(False)
        place = current.get(record["listing"])
        if place is not None:
            begun[place] += [name for name in record["result"] if name not in (".", "..")]
            ended[place] = ended[place] or not record["result"]
    return [sorted(names) if end else None for names, end in zip(begun, ended, strict=True)]
