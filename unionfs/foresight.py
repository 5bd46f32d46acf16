"""What will probably be asked for next, looked up in time that would pass with waiting.

A client takes longer to wake up and to look at an answer than we take to look up a few names. Who
has begun a listing will want the rest of it; who has gone down from one directory to another walks
a tree, and will want the next one; who reads the files of a listing in their order will read the
next one. Never more than one directory or file ahead, and in pieces so small that a request that
comes meanwhile hardly waits: a large directory is left to whoever opens it.

find(1) goes by the order of the listing, tar(1) and grep(1) by inode numbers: listings of ours are
in that order (Layer.scan), so both do the same.

Nodes are remembered by number, for their memory is to be given back when the kernel forgets them.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .tree import Dir, Node, Tree

log = logging.getLogger(__name__)

PIECE = 8
"""So many names are looked up between two looks for a request."""
_REMEMBERED = 1000
"""So many directories found by listings are remembered."""
_READERS = 16
"""In so many listings we know how far somebody has read."""
_LONG = 1000
"""Of longer listings that is too much to remember."""
_NEAR = 32
"""What is expected next is looked for among so many."""
LARGE_BYTES = 32 << 10
"""A directory that takes more is not merged in one small piece: 1,000 names on ext4 and tmpfs."""
_MANY_PARTS = 16


@dataclass(slots=True)
class _Reader:
    """Whoever reads the files of a listing in their order, and the place after the last one."""

    files: list[int]
    place: int = 0


class Foresight:
    """The guesses about one *tree*; *store* gives the kernel the content of a file not open yet.

    One that is not *active* remembers nothing, and so has nothing to do.
    """

    def __init__(self, tree: Tree, store: Callable[[Node], None], *, active: bool = True) -> None:
        self._tree = tree
        self._active = active
        self._store = store
        self._found: list[int] = []
        """Directories that were listed as names and not opened yet, the next of a walk last."""
        self._readers: dict[int, _Reader] = {}
        self._walking = False
        self._soon: Iterator[None] = iter(())
        self._later: Iterator[None] = iter(())

    # --- what happens ---

    def opened(self, node: Dir, names: Sequence[bytes], place: int = 0) -> None:
        """*node* is about to be listed, from *place* in *names* on."""
        if not self._active:
            return
        near = self._found[-_NEAR:]
        self._walking = node.nid in near
        if self._walking:
            del self._found[len(self._found) - len(near) + near.index(node.nid) :]
        self._soon = self._names(node, names, place)

    def listed(self, node: Dir, names: Sequence[bytes], place: int) -> None:
        """Its *names* before *place* were asked for."""
        if not self._active:
            return
        self._soon = self._names(node, names, place)
        if place >= len(names):
            self._ended(node)

    def _ended(self, node: Dir) -> None:
        children = [child for child in (node.children or {}).values() if isinstance(child, Node)]
        self._found += [child.nid for child in reversed(children) if isinstance(child, Dir)]
        del self._found[:-_REMEMBERED]
        if self._walking:
            self._later = self._next_directory()
            if len(children) <= _LONG:
                self._expect_reader(node, children)

    def _expect_reader(self, node: Dir, children: list[Node]) -> None:
        self._readers.pop(node.nid, None)
        self._readers[node.nid] = _Reader([child.nid for child in children if _is_file(child)])
        if len(self._readers) > _READERS:
            del self._readers[next(iter(self._readers))]

    def reading(self, node: Node) -> None:
        """The lower file *node* was opened."""
        reader = self._readers.get(node.parent.nid) if node.parent is not None else None
        if reader is None:
            return
        try:
            place = reader.files.index(node.nid, reader.place, reader.place + _NEAR)
        except ValueError:
            return
        reader.place = place + 1
        self._soon = self._next_file(reader)

    # --- what is done about it ---

    def step(self) -> bool:
        """Do a small piece of what is ahead; answers whether there was any."""
        for work in (self._soon, self._later):
            try:
                next(work)
            except StopIteration:
                continue
            except OSError:
                continue  # whoever asks will be told; the work has ended
            except Exception:
                # Nobody waits for this: it must not take the mount down.
                log.exception("looking ahead failed")
                continue
            return True
        return False

    def _names(self, node: Dir, names: Sequence[bytes], place: int) -> Iterator[None]:
        for start in range(place, len(names), PIECE):
            if node.children is None:
                return
            self._tree.fetch(node, names[start : start + PIECE])
            yield

    def _next_file(self, reader: _Reader) -> Iterator[None]:
        if reader.place < len(reader.files):
            node = self._known(reader.files[reader.place])
            if node is not None and _is_file(node):
                self._store(node)
                yield

    def _next_directory(self) -> Iterator[None]:
        node = None
        while self._found and node is None:
            node = self._known(self._found[-1])
            if node is None:
                self._found.pop()  # forgotten meanwhile
        if isinstance(node, Dir) and node.children is None and self._is_small(node):
            names = list(self._tree.children(node))
            yield
            yield from self._names(node, names, 0)

    def _is_small(self, node: Dir) -> bool:
        return len(node.parts) <= _MANY_PARTS and self._tree.size(node) <= LARGE_BYTES

    def _known(self, number: int) -> Node | None:
        """The node with that number, if the kernel knows it."""
        node = self._tree.nodes.get(number)
        return node if node is not None and node.lookups > 0 else None


def _is_file(node: Node) -> bool:
    return not node.upper and stat.S_ISREG(node.mode)
