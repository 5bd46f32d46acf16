"""The crash test: interrupt each change at each system call that it makes below the upper.

The daemon is killed (SIGKILL) before and after each call, and each call is made to fail. After a
kill, a fresh mount by ours and one by kernel overlayfs must show the state before the interrupted
operation or the one after it, and nothing else. After a failure the caller must get the errno, the
mount must live and show the old state, and the same operation done again must succeed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from unionfs.errors import UnionError
from unionfs.testing import layers
from unionfs.testing.bench import Bench, Lab
from unionfs.testing.compare import only_differing, show
from unionfs.testing.crew import Outcome
from unionfs.testing.drivers import Driver, find_driver
from unionfs.testing.language import Close, NameMax, Operation, Write
from unionfs.testing.layers import Layers
from unionfs.testing.mutations import LAYERS, Mutation
from unionfs.testing.rules import normalise_tree
from unionfs.testing.snapshot import Tree

ERRNOS = ("ENOSPC", "EIO", "EMFILE", "ENOMEM", "EDQUOT")
WHEN = ("before", "after")
TOUCHED: tuple[str, ...] = ("dir",)
"""What may have the time of the interruption and otherwise be in an allowed state.

A copy-up moves its parent's time, which the next call sets back: as in kernel overlayfs, a crash
between the two shows in that time and nowhere else.
"""
MOST_CALLS = 200
"""No mutation makes so many; reaching it means that a daemon was not killed where it should be."""


@dataclass(frozen=True)
class Failure:
    """What was wrong after one interruption; *rule* is the value of faults= that shows it."""

    mutation: str
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.mutation}, faults={self.rule}: {self.what}"


@dataclass
class Matrix:
    """What was done: the number of calls of each mutation, of runs, and what went wrong."""

    points: dict[str, int] = field(default_factory=dict)
    kills: int = 0
    errors: int = 0
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{len(self.points)} mutations x their system calls = {sum(self.points.values())} points: "
            f"{self.kills} kills, {self.errors} errors, {len(self.failures)} failures"
        )


class States:
    """What the merged view may be: the trees before, between and after a mutation's operations."""

    def __init__(self, mutation: Mutation, trees: Sequence[Tree]) -> None:
        self.mutation = mutation
        self.trees = trees

    def allowed(self, position: int) -> list[Tree]:
        """The states in which an interruption of the operation at *position* may leave the tree.

        A write(2) is in the kernel's cache until something syncs it, so until then it may be lost.
        """
        operations = self.mutation.operations
        first = position
        while first and isinstance(operations[first - 1], Write):
            first -= 1
        return list(self.trees[first : position + 2])

    def unsynced(self, position: int) -> bool:
        """Whether data or times may be lost that the kernel was to send before this was done."""
        return len(self.allowed(position)) > 2 or isinstance(
            self.mutation.operations[position], Close
        )

    @property
    def new(self) -> Tree:
        """The state after everything was done."""
        return self.trees[-1]


def crash_matrix(
    lab: Lab,
    mutations: Sequence[Mutation],
    *,
    driver: str = "unionfs",
    peer: str | None = None,
    whens: Sequence[str] = WHEN,
    errnos: Callable[[int], Sequence[str]] = lambda point: ERRNOS,
    progress: Callable[[Mutation, Matrix], None] = lambda mutation, matrix: None,
) -> Matrix:
    """Interrupt every mutation at every call.

    *whens* are the sides of a call to kill at: after one call is before the next, as nothing but
    calls changes the disk. *errnos* says which errnos the n-th call fails with. Raises UnionError
    when a driver cannot mount.
    """
    matrix = Matrix()
    for mutation in possible(mutations, driver):
        trial = Trial(lab, mutation, matrix, driver, peer)
        matrix.points[mutation.name] = 0
        for when in whens:
            matrix.points[mutation.name] = trial.kill_everywhere(when)
        for point in range(1, matrix.points[mutation.name] + 1):
            for code in errnos(point):
                trial.fail(point, code)
        progress(mutation, matrix)
    return matrix


class Trial:
    """One mutation, interrupted again and again; what goes wrong is added to the matrix.

    *driver* is ours, such as ``unionfs@userns`` or ``unionfs:fsync=strict``; *peer* looks at what
    it leaves too, by default kernel overlayfs.
    """

    def __init__(
        self,
        lab: Lab,
        mutation: Mutation,
        matrix: Matrix,
        driver: str = "unionfs",
        peer: str | None = None,
    ) -> None:
        self.lab = lab
        self.mutation = mutation
        self.matrix = matrix
        self.ours = find_driver(driver)
        userns = self.ours.place == "userns"
        self.peer = find_driver(peer or ("kernel@userns" if userns else "kernel"))
        self.layers = without_devices(LAYERS) if userns else LAYERS
        self.states = self.undisturbed()

    def bench(self, rule: str = "") -> Bench:
        """A mount of ours that has the mutation's upper, with one rule of faults=."""
        faults = (f"faults={rule}",) if rule else ()
        driver = replace(self.ours, options=(*self.ours.options, *faults))
        bench = Bench(self.lab, driver, self.layers)
        upper, text = bench.stack.upper, layers.encode((self.mutation.upper,))
        assert upper is not None
        bench.place.call("make_dirs", paths=[os.path.dirname(upper)])
        bench.place.call("build", root=upper, layer=text, family=bench.place.family)
        return bench

    def undisturbed(self) -> States:
        """Do the mutation without faults, and look after each operation."""
        with self.bench() as bench:
            trees = [bench.tree()]
            for operation in self.mutation.operations:
                outcome = bench.step(operation)
                if "errno" in outcome:
                    raise UnionError(f"{self.mutation.name}: {operation}: {outcome['errno']}")
                trees.append(bench.tree())
        return States(self.mutation, trees)

    # --- killed ---

    def kill_everywhere(self, when: str) -> int:
        """Kill at the first call, the second and so on; answers how many there are."""
        for point in range(1, MOST_CALLS):
            if not self.kill(f"*:{point}:kill-{when}"):
                return point - 1
        raise UnionError(f"{self.mutation.name} makes more than {MOST_CALLS} calls")

    def kill(self, rule: str) -> bool:
        """Do the mutation until the daemon is killed; answers whether it was."""
        with self.bench(rule) as bench:
            position = self.killed_at(bench)
            if position is None:
                return False
            self.matrix.kills += 1
            bench.crash()
            self.inspect(bench, rule, position)
        return True

    def inspect(self, crashed: Bench, rule: str, position: int) -> None:
        """Look at what is left after a crash in the operation at *position*."""
        for driver in (self.ours, self.peer):
            self.look(driver, crashed, rule, self.states.allowed(position))

    def killed_at(self, bench: Bench) -> int | None:
        """The position of the operation during which the daemon died; None if it lives."""
        for position, operation in enumerate(self.mutation.operations):
            bench.step(operation)
            if not alive(bench):
                return position
        return None

    def look(
        self,
        driver: Driver,
        left: Bench,
        rule: str,
        allowed: Sequence[Tree],
        touched: Sequence[str] = TOUCHED,
    ) -> None:
        """Mount the upper that was left; it must show one of these states, and hold no litter."""
        try:
            with Bench(self.lab, driver, self.layers, upper_from=left) as bench:
                tree = bench.tree()
                litter = unknown_names(bench.upper_tree(), tree)
        except (UnionError, OSError) as error:
            self.wrong(rule, f"{driver.name} afterwards: {error}")
            return
        self.expect(rule, f"{driver.name} afterwards", tree, allowed, touched)
        for path in litter:
            self.wrong(rule, f"litter in the upper: {path}")

    # --- refused ---

    def fail(self, point: int, code: str) -> None:
        """Do the mutation with one call failing, then what failed once more."""
        rule = f"*:{point}:{code}"
        self.matrix.errors += 1
        try:
            with self.bench(rule) as bench:
                self.fail_and_repeat(bench, rule, code)
        except (UnionError, OSError) as error:
            self.wrong(rule, str(error))

    def fail_and_repeat(self, bench: Bench, rule: str, code: str) -> None:
        """The steps of `fail` on its mount, then the peer's look at the upper."""
        position, outcome = do_until_error(bench, self.mutation.operations)
        wanted, touched = [self.states.new], TOUCHED
        if not alive(bench):
            self.wrong(rule, "the mount died")
            return
        if position is None:
            # The kernel sends times some while after the operation. Let the walk meet the fault.
            bench.tree()
        else:
            self.repeat(bench, rule, position)
            if outcome["errno"] != code:
                what = f"{self.mutation.operations[position]} answered {outcome['errno']}"
                self.wrong(rule, what)
            if self.states.unsynced(position):
                wanted, touched = self.states.allowed(position), (*TOUCHED, "file")
        self.expect(rule, "in the end", bench.tree(), wanted, touched)
        bench.unmount()
        self.look(self.peer, bench, rule, wanted, touched)

    def repeat(self, bench: Bench, rule: str, position: int) -> None:
        """After an error at *position*: the old state must be there, and doing it again succeed."""
        self.expect(rule, "after the error", bench.tree(), self.states.allowed(position)[:-1])
        # A failed close(2) has closed.
        closed = isinstance(self.mutation.operations[position], Close)
        _, again = do_until_error(bench, self.mutation.operations[position + closed :])
        if "errno" in again:
            self.wrong(rule, f"done again it answers {again['errno']}")

    # --- judging ---

    def expect(
        self,
        rule: str,
        when: str,
        tree: Tree,
        allowed: Sequence[Tree],
        touched: Sequence[str] = TOUCHED,
    ) -> None:
        """The tree must be one of these."""
        differences = [first_difference(tree, state, touched) for state in allowed]
        if all(differences):
            self.wrong(rule, f"{when}: {'; '.join(map(str, differences))}")

    def wrong(self, rule: str, what: str) -> None:
        """Note a failure."""
        self.matrix.failures.append(Failure(self.mutation.name, rule, what))


def possible(mutations: Sequence[Mutation], driver: str) -> list[Mutation]:
    """Those that can be done where *driver* lives."""
    userns = find_driver(driver).place == "userns"
    return [mutation for mutation in mutations if not (userns and mutation.device)]


def without_devices(stack: Layers) -> Layers:
    """The layers without what nobody can make in a user namespace."""
    return tuple(
        tuple(entry for entry in layer if entry.kind not in ("char", "block")) for layer in stack
    )


def alive(bench: Bench) -> bool:
    """Whether the daemon answers: statvfs(3) is never answered from the kernel's cache."""
    return "result" in bench.step(NameMax("."))


def do_until_error(bench: Bench, operations: Sequence[Operation]) -> tuple[int | None, Outcome]:
    """Do one after the other; answers the position of the one that fails, and its outcome."""
    outcome: Outcome = {}
    for position, operation in enumerate(operations):
        outcome = bench.step(operation)
        if "errno" in outcome:
            return position, outcome
    return None, outcome


def first_difference(tree: Tree, state: Tree, touched: Sequence[str]) -> str:
    """Where a tree is not a certain state, empty when it is that.

    Objects of the types *touched* may have been changed just now and otherwise be as in the state.
    """
    found, wanted = normalise_tree(tree), normalise_tree(state)
    for path in sorted(found.keys() | wanted.keys()):
        record = found.get(path, {})
        here, there = only_differing(record or None, wanted.get(path))
        just_touched = here == {"mtime": "now"} and record.get("type") in touched
        if here != there and not just_touched:
            return f"{path} is {show(here)}, not {show(there)}"
    return ""


def unknown_names(upper: Tree, merged: Tree) -> list[str]:
    """What lies in an upper and is neither shown nor a whiteout, in either form of these."""
    return [
        path
        for path, record in upper.items()
        if path not in merged
        and not (record["type"] == "char" and record["rdev"] == "0:0")
        and not os.path.basename(path).startswith(".wh.")
    ]
