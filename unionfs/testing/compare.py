"""The comparison: the same case on two drivers, answer by answer and tree by tree."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unionfs.errors import UnionError
from unionfs.testing.bench import TMPFS, Bench, Lab
from unionfs.testing.drivers import Driver, compatible
from unionfs.testing.language import Operation
from unionfs.testing.layers import Layers
from unionfs.testing.place import Hung
from unionfs.testing.rules import (
    expected_in_tree,
    find_quirk,
    forgets_numbers,
    normalise_outcome,
    normalise_tree,
)
from unionfs.testing.snapshot import Tree


@dataclass(frozen=True)
class Case:
    """Layers (top first), and what is done on them."""

    layers: Layers
    operations: tuple[Operation, ...]

    def __repr__(self) -> str:
        # hypothesis prints examples; a layer's content would be pages.
        return f"<case of {len(self.operations)} operations on {len(self.layers)} layers>"


@dataclass(frozen=True)
class Difference:
    """Where two drivers part: the stage, what it is about, and what each has."""

    stage: str
    about: str
    left: Any
    right: Any

    def __str__(self) -> str:
        return f"{self.stage}: {self.about}\n    left:  {show(self.left)}\n    right: {show(self.right)}"


def show(value: Any) -> str:
    """A value as compact text; absent things are named so."""
    return "absent" if value is None else json.dumps(value, sort_keys=True)


@dataclass
class Report:
    """What came of a case: the differences, and the quirks that were met on the way."""

    differences: list[Difference] = field(default_factory=list)
    quirks: list[str] = field(default_factory=list)


class StatesPart(Exception):
    """An expected difference after which the rest cannot be compared; carries its position."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def compare(
    lab: Lab,
    left: Driver,
    right: Driver,
    case: Case,
    *,
    remount: bool = True,
    cross: bool = True,
    known: Sequence[re.Pattern[str]] = (),
) -> Report:
    """Run a case on both drivers.

    Compared are the errno and result of every call, the merged trees, the trees after a remount,
    that no lower layer changed, and each driver's view of the upper that the other wrote. The
    first stage that differs ends it. An operation at which an expected difference makes the
    states part is left out and the case run again. A difference whose text one of known matches is
    expected too. Raises UnionError when a driver cannot mount.
    """
    report = Report()
    operations = list(case.operations)
    while True:
        rest = replace(case, operations=tuple(operations))
        attempt = Comparison(lab, left, right, rest, report, known)
        try:
            attempt.run(remount=remount, cross=cross)
        except StatesPart as parting:
            del operations[parting.position]
            continue
        return report


class Comparison:
    """One attempt of `compare`; differences and quirks go to the report."""

    def __init__(
        self,
        lab: Lab,
        left: Driver,
        right: Driver,
        case: Case,
        report: Report,
        known: Sequence[re.Pattern[str]],
    ) -> None:
        self.lab = lab
        self.left = left
        self.right = right
        self.case = case
        self.report = report
        self.known = known
        self.numbers = not any(forgets_numbers(driver.traits) for driver in (left, right))

    def run(self, *, remount: bool, cross: bool) -> None:
        """All stages, until one differs."""
        with contextlib.ExitStack() as stack:
            a = stack.enter_context(Bench(self.lab, self.left, self.case.layers))
            b = stack.enter_context(Bench(self.lab, self.right, self.case.layers))
            if not self.same_answers(a, b):
                return
            trees = self.look(a, "merged view"), self.look(b, "merged view")
            if None in trees or not self.same_trees("merged view", *trees):
                return
            if remount and not self.same_after_remount(a, b, *trees):
                return
            if not self.lowers_kept(a, b):
                return
            if cross and compatible(self.left, self.right):
                self.same_crosswise(a, b)

    def same_answers(self, a: Bench, b: Bench) -> bool:
        """Do the operations in lockstep."""
        # A tmpfs never gives an inode number again; on a disk, equal ones at two times mean nothing.
        unique = self.numbers and self.lab.root.startswith(TMPFS)
        numbers: tuple[dict[int, int] | None, ...] = ({}, {}) if unique else (None, None)
        for position, operation in enumerate(self.case.operations):
            stage = f"operation {position + 1}"
            outcomes = []
            for bench, seen in zip((a, b), numbers, strict=True):
                try:
                    outcomes.append(normalise_outcome(bench.step(operation), seen))
                except (OSError, UnionError) as error:
                    self.broken(stage, str(operation), bench, error)
                    return False
            left, right = outcomes
            if left == right:
                continue
            quirk = find_quirk(operation, left, right, self.left.traits, self.right.traits)
            if quirk is None:
                if self.differs(Difference(stage, str(operation), left, right)):
                    return False
                raise StatesPart(position)
            self.report.quirks.append(quirk.name)
            if quirk.parts:
                raise StatesPart(position)
        return True

    def differs(self, difference: Difference) -> bool:
        """Note a difference; whether it counts, or is one that the user knows."""
        for pattern in self.known:
            if pattern.search(str(difference)):
                self.report.quirks.append(pattern.pattern)
                return False
        self.report.differences.append(difference)
        return True

    def broken(self, stage: str, about: str, bench: Bench, error: Exception) -> None:
        """A driver that hangs, will not unmount, or died is the worst difference."""
        what = "hung" if isinstance(error, Hung) else "failed"
        text = f"{what}: {error}"
        left, right = (text, "") if bench.driver is self.left else ("", text)
        self.report.differences.append(Difference(stage, about, left, right))

    def look(self, bench: Bench, stage: str) -> Tree | None:
        """A tree, or None after noting that it could not be had."""
        try:
            return bench.tree()
        except (OSError, UnionError) as error:
            self.broken(stage, "walking the tree", bench, error)
            return None

    def same_trees(
        self,
        stage: str,
        left: Tree | None,
        right: Tree | None,
        before: tuple[Tree | None, Tree | None] = (None, None),
    ) -> bool:
        """Path by path."""
        assert left is not None and right is not None
        one = normalise_tree(left, before[0], numbers=self.numbers)
        two = normalise_tree(right, before[1], numbers=self.numbers)
        for path in sorted(one.keys() | two.keys()):
            if one.get(path) != two.get(path):
                here, there = only_differing(one.get(path), two.get(path))
                if expected_in_tree(stage, here, there, self.left.traits, self.right.traits):
                    continue
                self.differs(Difference(stage, path, here, there))
        return not self.report.differences

    def same_after_remount(self, a: Bench, b: Bench, left: Tree | None, right: Tree | None) -> bool:
        """Unmount and mount both, and look again."""
        trees = []
        for bench in (a, b):
            try:
                bench.remount()
            except (OSError, UnionError) as error:
                self.broken("remount", "unmount and mount", bench, error)
                return False
            tree = self.look(bench, "after a remount")
            if tree is None:
                return False
            trees.append(tree)
        return self.same_trees("after a remount", trees[0], trees[1], (left, right))

    def lowers_kept(self, a: Bench, b: Bench) -> bool:
        """The lower layers are byte for byte and time for time what they were."""
        benches = [a] if a.stack.lowers == b.stack.lowers else [a, b]
        for bench in benches:
            for line in bench.changed_lowers():
                self.differs(Difference("lower layers", line, "as built", "changed"))
        return not self.report.differences

    def same_crosswise(self, a: Bench, b: Bench) -> None:
        """Each mounts what the other wrote, and must see what the other showed."""
        seen = a.tree(), b.tree()
        a.unmount()
        b.unmount()
        for driver, owner, tree in ((self.left, b, seen[1]), (self.right, a, seen[0])):
            stage = f"{driver.name} on the upper of {owner.driver.name}"
            try:
                with Bench(self.lab, driver, self.case.layers, upper_from=owner) as bench:
                    other = bench.tree()
            except (OSError, UnionError) as error:
                self.differs(Difference(stage, "mount", "", str(error)))
                continue
            # Inode numbers need not be the same: each has its own way across layers.
            self.same_trees(stage, tree, other)


def only_differing(left: Any, right: Any) -> tuple[Any, Any]:
    """Of two records, the fields that differ, for a message that can be read."""
    if not (isinstance(left, dict) and isinstance(right, dict)):
        return left, right
    names = [n for n in sorted(left.keys() | right.keys()) if left.get(n) != right.get(n)]
    return {n: left.get(n) for n in names}, {n: right.get(n) for n in names}
