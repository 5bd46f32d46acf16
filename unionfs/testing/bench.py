"""The lab's rooms: a `Lab` owns places, directories and layers; a `Bench` is one mounted driver."""

from __future__ import annotations

import contextlib
import os
import tempfile
from types import TracebackType
from typing import Any

from unionfs.errors import UnionError
from unionfs.testing import layers as layer_data
from unionfs.testing.crew import Outcome
from unionfs.testing.drivers import Driver, Stack
from unionfs.testing.language import ACTORS, Operation, RawLower, RawUpper, Remount
from unionfs.testing.layers import Layers
from unionfs.testing.place import Place, Refused
from unionfs.testing.snapshot import Tree

TMPFS = "/dev/shm"


def default_base() -> str:
    """Where sequences run: a tmpfs when there is one, for a copy-up waits for the disk."""
    return TMPFS if os.path.ismount(TMPFS) and os.access(TMPFS, os.W_OK) else "/var/tmp"


class Lab:
    """A context in which drivers are compared; everything it made is gone afterwards.

    base is a directory on the file system that will hold layers and uppers. prelude plants bugs
    in our driver (see `worker`). patience is the time limit of one operation in seconds.
    """

    def __init__(
        self, base: str | None = None, *, prelude: str = "", patience: float = 20.0
    ) -> None:
        self.root = tempfile.mkdtemp(prefix="unionfs-lab-", dir=base or default_base())
        self.prelude = prelude
        self.patience = patience
        self._places: dict[str, Place] = {}
        self._lowers: dict[tuple[str, str], tuple[str, ...]] = {}
        self._marks: dict[tuple[str, ...], list[dict[str, list[int]]]] = {}
        self._serial = 0
        # A user namespace must get through to its own directories.
        os.chmod(self.root, 0o711)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for place in self._places.values():
            if kind is not None:
                place.kill()  # with any mount that nobody came to know of
            # By the worker: files of a user namespace's ids, and trees of odd modes.
            with contextlib.suppress(UnionError, OSError):
                place.call("remove", path=os.path.join(self.root, place.name))
            place.close()
            # Only an empty directory: a mount that was left must not be walked into.
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(self.root, place.name))
        with contextlib.suppress(OSError):
            os.rmdir(self.root)

    def place(self, name: str) -> Place:
        """The worker of that place, started on first use, with a directory of its own."""
        if name not in self._places:
            directory = os.path.join(self.root, name)
            place = Place(name, directory, patience=self.patience, prelude=self.prelude)
            os.mkdir(directory, 0o755)
            os.chown(directory, place.first_id, place.first_id)
            self._places[name] = place
        return self._places[name]

    def directory(self, place: Place) -> str:
        """A name for a new directory of that place; it is not made."""
        self._serial += 1
        return os.path.join(self.root, place.name, f"{self._serial:x}")

    def lowers(self, place: Place, layers: Layers) -> tuple[str, ...]:
        """The layer directories of a stack, built on first use and shared: nobody changes them."""
        key = (place.name, layer_data.encode(layers))
        if key not in self._lowers:
            roots = []
            for layer in layers:
                roots.append(self.directory(place))
                text = layer_data.encode((layer,))
                place.call("build", root=roots[-1], layer=text, family=place.family)
            self._lowers[key] = tuple(roots)
            self._marks[tuple(roots)] = [place.call("fingerprint", root=root) for root in roots]
        return self._lowers[key]

    def changed_lowers(self, place: Place, roots: tuple[str, ...]) -> list[str]:
        """What is no longer as it was built, as lines for people; the stack is then built anew."""
        lines = []
        for number, (root, before) in enumerate(zip(roots, self._marks[roots], strict=True)):
            after = place.call("fingerprint", root=root)
            for path in sorted(before.keys() | after.keys()):
                if before.get(path) != after.get(path):
                    lines.append(f"lower {number}: {path} (inode, size, atime, mtime, ctime)")
        if lines:
            self._lowers = {k: v for k, v in self._lowers.items() if v != roots}
        return lines


class Bench:
    """One driver, mounted on a stack; use it as a context. tree() and step() look through it.

    upper_from is another bench, by now unmounted, whose upper and work directories are used.
    """

    def __init__(
        self, lab: Lab, driver: Driver, layers: Layers, *, upper_from: Bench | None = None
    ) -> None:
        self.lab = lab
        self.driver = driver
        self.place = lab.place(driver.place)
        self.layers = layers
        self.mounted = False
        self.life = 0
        self._own = lab.directory(self.place)
        source = upper_from.stack if upper_from else None
        self.stack: Stack = Stack(
            lab.lowers(self.place, layers),
            source.upper if source else f"{self._own}/upper",
            source.work if source else f"{self._own}/work",
            f"{self._own}/mnt",
        )
        self.fresh = upper_from is None

    @property
    def root(self) -> str:
        """Where programs go: the mountpoint, or the plain directory itself."""
        if self.driver.mount is None:
            assert self.stack.upper is not None
            return self.stack.upper
        return self.stack.mountpoint

    def __enter__(self) -> Bench:
        stack = self.stack
        assert stack.upper is not None and stack.work is not None
        made = [stack.mountpoint]
        if self.fresh:
            made.append(stack.work)
            if self.driver.mount is not None:
                made.append(stack.upper)
        self.place.call("make_dirs", paths=made)
        if self.driver.mount is None and self.fresh:
            merged = layer_data.encode((layer_data.merged(self.layers),))
            self.place.call("build", root=stack.upper, layer=merged, family=self.place.family)
            # The root of a union is that of its upper, which was made just now.
            self.place.call("touch", path=stack.upper)
        try:
            self.mount()
        except UnionError:
            self.place.call("remove", path=self._own)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unmount()
        self.place.call("remove", path=self._own)

    def mount(self) -> None:
        """Mount; UnionError carries what the driver said when it would not."""
        if self.driver.mount is not None:
            try:
                self.driver.mount(self.place, self.stack, self.driver.options)
            except Refused as refused:
                raise UnionError(f"{self.driver.name} cannot mount: {refused}") from None
        self.life = self.place.lives
        self.mounted = True

    def unmount(self) -> None:
        """End the actors and unmount; harmless when that was done before."""
        if not self.mounted:
            return
        self.mounted = False
        if self.life != self.place.lives:
            return  # the mount was taken away with a worker that hung
        self.place.call("dismiss", root=self.root)
        if self.driver.mount is not None:
            self.place.call("unmount", mountpoint=self.stack.mountpoint)

    def remount(self) -> None:
        """Unmount and mount again."""
        self.unmount()
        self.mount()

    def crash(self) -> None:
        """SIGKILL the daemon, in the middle of whatever it does, and take the mount away."""
        self.mounted = False
        self.place.call("kill_daemon", mountpoint=self.stack.mountpoint)
        self.place.call("dismiss", root=self.root)

    def step(self, operation: Operation) -> Outcome:
        """Do one operation and answer {"result": …} or {"errno": …}."""
        match operation:
            case Remount():
                self.remount()
                return {"result": None}
            case RawUpper(path=path):
                return {"result": self.raw_upper(path)}
            case RawLower(path=path, layer=layer):
                root = self.stack.lowers[layer]
                return {"result": self.place.call("raw", path=os.path.join(root, path))}
        who = ACTORS[operation.who]
        outcome: Outcome = self.place.call(
            "perform",
            root=self.root,
            who=operation.who,
            uid=who.uid,
            gid=who.gid,
            verb=operation.verb,
            arguments=operation.arguments(),
        )
        return outcome

    def raw_upper(self, path: str) -> Any:
        """What lies in the upper at that path."""
        assert self.stack.upper is not None
        return self.place.call("raw", path=os.path.join(self.stack.upper, path))

    def upper_tree(self) -> Tree:
        """The upper itself, walked like any directory."""
        tree: Tree = self.place.call("snapshot", root=self.stack.upper)
        return tree

    def tree(self) -> Tree:
        """The merged view, walked as a program would."""
        tree: Tree = self.place.call("snapshot", root=self.root)
        return tree

    def changed_lowers(self) -> list[str]:
        """What this stack's lower layers have lost of what they were."""
        return self.lab.changed_lowers(self.place, self.stack.lowers)
