"""The merged view: nodes, their numbers, and directories merged once, on first use.

Lower layers do not change while mounted and the upper changes only through us, so this tree is the
truth: after a directory was merged, a lookup is one dict access whatever the number of layers, and
a missing name needs no system call at all.
"""

from __future__ import annotations

import errno
import gc
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from . import formats
from .layer import NO_MARKS, DirFds, Layer, Marks

ROOT_ID = 1
_DEVICE_SHIFT = 48
_SYNTHETIC = 1 << 62
# So many forgotten nodes are worth the milliseconds in which their memory is given back.
_MANY = 10_000


class Part(NamedTuple):
    """A directory inside a lower layer."""

    layer: Layer
    path: bytes

    def dir_fd(self) -> int:
        return self.layer.dir_fd(self.path)


class Node:
    """One inode of the union: what all its names and handles share.

    ``parent``/``name`` is one place where it can be found; ``links`` holds the others of a file
    with several names. A node without ``parent`` has been unlinked and lives by ``fd`` alone.
    A lower file is opened as ``source_name`` in ``source``, which stay valid whatever happens to
    its names.
    """

    __slots__ = (
        "attr",
        "backing",
        "data",
        "disguised",
        "fd",
        "links",
        "lookups",
        "mapped",
        "metacopy",
        "mode",
        "name",
        "nid",
        "opens",
        "parent",
        "real",
        "source",
        "source_name",
        "stored",
        "upper",
        "writable",
        "xattrs",
    )

    def __init__(self, nid: int, mode: int, parent: Dir | None, name: bytes, upper: bool) -> None:
        self.nid = nid
        self.mode = mode
        self.parent = parent
        self.name = name
        self.source_name = name
        self.upper = upper
        self.source: Part | None = None
        self.disguised = False
        """Whether it is an empty file that is shown as a whiteout (see formats.NESTED_WHITEOUT)."""
        self.metacopy = False
        """Whether the file holds attributes only and its content is at ``data`` (None: nowhere)."""
        self.data: tuple[Part, bytes] | None = None
        self.links: set[tuple[Dir, bytes]] | None = None
        self.real = 0
        """Inode number on the upper file system when several names may lead to it, else 0."""
        self.attr: object = None
        """What the transport built from the node's stat; None when that is stale."""
        self.backing = 0
        """Not 0 while the kernel reads and writes the file past us: nothing is kept of it then."""
        self.mapped = False
        """Whether it may be mapped for writing past us, which nobody tells: no caching ever after."""
        self.xattrs: frozenset[bytes] | None = None
        """Raw xattr names where known without asking; None when unknown."""
        self.stored = False
        """Whether the kernel may have been given the content: once is enough."""
        self.lookups = 0
        self.opens = 0
        self.fd = -1
        """What reads and writes go to while the node is open or unlinked; -1 when it is neither."""
        self.writable = False

    @property
    def is_dir(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.nid} {path_of(self)!r}>"


_KEPT_BY_HANDLES = (
    *("source", "source_name", "data", "metacopy", "xattrs"),
    *("fd", "opens", "lookups", "backing"),
)


class Dir(Node):
    """A directory: ``parts`` are the lower directories merged in it, top first."""

    __slots__ = ("changed", "children", "default_acl", "impure", "parts")

    def __init__(
        self,
        nid: int,
        mode: int,
        parent: Dir | None,
        name: bytes,
        upper: bool,
        parts: Sequence[Part] = (),
    ) -> None:
        super().__init__(nid, mode, parent, name, upper)
        self.parts = tuple(parts)
        self.children: dict[bytes, Child] | None = None
        self.changed = False
        """Whether names have come or gone since it was merged, so that their order is another."""
        self.impure = False
        """Whether the upper directory is known to carry the impure mark."""
        self.default_acl: bytes | None = None
        """Cached default ACL: None unknown, b"" none."""

    @property
    def is_dir(self) -> bool:
        return True

    @property
    def merged(self) -> bool:
        """Whether more than one real directory is behind it."""
        return len(self.parts) + self.upper > 1


Child = Node | int | tuple[int, ...]
"""A name in a merged directory: its node once somebody asked, before that where to find it.

An int is the place of the file: an index into the directory's parts, or UPPER. A tuple holds the
places of the directories to be merged, top first. PROBE means that the layers must be asked again.
"""

UPPER = -1
PROBE = -2


class Stack(NamedTuple):
    """What is mounted: the upper root (None when read-only) and the lower layers, top first."""

    upper: Layer | None
    lowers: tuple[Layer, ...]
    data_only: tuple[Layer, ...] = ()


Encode = Callable[[Node, os.stat_result], object]


class Tree:
    """The nodes of one mount.

    *encode* turns a stat result into what the transport sends; it is kept on the node.
    Raises OSError with the errno a caller should get.
    """

    def __init__(
        self,
        stack: Stack,
        fds: DirFds,
        encode: Encode,
        *,
        follow_redirects: bool = True,
        follow_metacopy: bool = True,
    ) -> None:
        self.stack = stack
        self.encode = encode
        self.follow_redirects = follow_redirects
        self.follow_metacopy = follow_metacopy
        self._fds = fds
        self._bottom = stack.lowers[-1] if not stack.data_only else None
        """The layer below which there is nothing, not even data."""
        self._devices: dict[int, int] = {}
        self._synthetic = _SYNTHETIC
        self.links: dict[int, Node] = {}
        """Upper files with several names, by inode number on the upper file system."""
        for layer in (*reversed(stack.lowers), *((stack.upper,) if stack.upper else ())):
            self._device(os.fstat(layer.root_fd).st_dev)
        self.root = self._make_root()
        self.nodes: dict[int, Node] = {ROOT_ID: self.root}
        self._dropped = 0

    def _make_root(self) -> Dir:
        upper = self.stack.upper
        tops = (upper, *self.stack.lowers) if upper else self.stack.lowers
        st = os.fstat(tops[0].root_fd)
        parts = []
        for layer in tops:
            if layer is not upper:
                parts.append(Part(layer, b""))
            if layer.marks(layer.root_fd, b".", is_dir=True).opaque:
                break
        root = Dir(ROOT_ID, st.st_mode, None, b"", upper is not None, parts)
        root.lookups = 1
        return root

    # --- numbers ---

    def _device(self, dev: int) -> int:
        index = self._devices.get(dev)
        if index is None:
            index = self._devices[dev] = len(self._devices)
        return index

    def number(self, dev: int, ino: int) -> int:
        """The union's inode number for a real one: itself on the first device, else tagged.

        Numbers of different file systems can never meet, and the same stack gives the same
        numbers after a remount.
        """
        index = self._device(dev)
        if ino <= ROOT_ID or ino >> _DEVICE_SHIFT or index >> 14:
            return self._invent()
        return ino | index << _DEVICE_SHIFT

    def _invent(self) -> int:
        self._synthetic += 1
        return self._synthetic

    def free_number(self, dev: int, ino: int) -> int:
        """number(), or an invented one when another live node has it."""
        nid = self.number(dev, ino)
        return nid if nid not in self.nodes else self._invent()

    # --- places on disk ---

    def upper_dir_fd(self, node: Dir) -> int:
        """A descriptor of the upper directory of *node*, kept open in the shared cache."""
        fd = self._fds.get(node)
        if fd >= 0:
            return fd
        upper = self.stack.upper
        assert upper is not None
        if node is self.root:
            return upper.root_fd
        chain = [node]
        while (parent := chain[-1].parent) is not None and parent is not self.root:
            if (fd := self._fds.get(parent)) >= 0:
                break
            chain.append(parent)
        else:
            fd = upper.root_fd
            if parent is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), node.name)
        for step in reversed(chain):
            fd = upper.open_dir(fd, step.name)
            self._fds.put(step, fd)
        return fd

    def place(self, node: Node) -> tuple[int, bytes, Layer]:
        """(directory descriptor, name, layer) where the topmost real file of *node* is."""
        if node.upper:
            if node.parent is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), node.name)
            assert self.stack.upper is not None
            return self.upper_dir_fd(node.parent), node.name, self.stack.upper
        assert node.source is not None
        return node.source.dir_fd(), node.source_name, node.source.layer

    def dir_at(self, node: Dir, place: int) -> tuple[int, Layer]:
        """(descriptor, layer) of the real directory behind *node* at *place*."""
        if place == UPPER:
            assert self.stack.upper is not None
            return self.upper_dir_fd(node), self.stack.upper
        part = node.parts[place]
        return part.dir_fd(), part.layer

    def places(self, node: Dir) -> range:
        """The places of the real directories behind *node*, top first."""
        return range(UPPER if node.upper else 0, len(node.parts))

    def forget_fds(self, node: Dir) -> None:
        """Close the cached descriptors of a directory that leaves the tree."""
        self._fds.drop(node)
        for part in node.parts:
            part.layer.forget_dir(part.path)

    def close_idle_fds(self) -> None:
        """Close the descriptors of all directories but those used last."""
        self._fds.trim(DirFds.FEW)

    # --- lookup and merge ---

    def get(self, nid: int) -> Node:
        """The node with that number; ESTALE when the tree does not know it."""
        try:
            return self.nodes[nid]
        except KeyError:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None

    def lookup(self, parent: Dir, name: bytes) -> Node | None:
        """The child *name*, or None where there is none."""
        children = parent.children
        if children is None:
            children = self.children(parent)
        child = children.get(name)
        if child is None or isinstance(child, Node):
            return child
        return self._instantiate(parent, name, child)

    def children(self, node: Dir) -> dict[bytes, Child]:
        """The merged directory, read from the layers the first time."""
        if node.children is None:
            try:
                node.children = self._merge(node)
            except FileNotFoundError:
                # A layer has lost it. ENOENT would read as the end of the listing (readdir(3)).
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None
        return node.children

    def _merge(self, node: Dir) -> dict[bytes, Child]:
        places = self.places(node)
        if len(places) == 1:
            (place,) = places
            fd, layer = self.dir_at(node, place)
            below = (place,)
            return {
                name: below if is_dir else place for name, is_dir in layer.scan(fd).entries.items()
            }
        found: dict[bytes, int | list[int] | tuple[int, ...] | None] = {}
        for place in places:
            fd, layer = self.dir_at(node, place)
            listing = layer.scan(fd)
            for name, is_dir in listing.entries.items():
                above = found.get(name, found)
                if above is found:
                    found[name] = [place] if is_dir else place
                elif isinstance(above, list):
                    if is_dir:
                        above.append(place)
                    else:
                        # A file between directories ends the merge of what is below it.
                        found[name] = tuple(above)
            for name in listing.whiteouts:
                above = found.get(name, found)
                if above is found:
                    found[name] = None
                elif isinstance(above, list):
                    found[name] = tuple(above)
        return {
            name: tuple(child) if isinstance(child, list) else child
            for name, child in found.items()
            if child is not None
        }

    def _instantiate(self, parent: Dir, name: bytes, child: int | tuple[int, ...]) -> Node | None:
        node = self._read(parent, name, child)
        self._settle(parent, name, node)
        return node

    def _settle(self, parent: Dir, name: bytes, node: Node | None) -> None:
        """Note what was found under a name of the merged directory *parent*."""
        assert parent.children is not None
        if node is None:
            del parent.children[name]
            parent.changed = True
        else:
            parent.children[name] = node

    def _read(self, parent: Dir, name: bytes, child: int | tuple[int, ...]) -> Node | None:
        if child == PROBE:
            found = self._probe(parent, name)
            if found is None:
                return None
            child = found
        if isinstance(child, tuple):
            return self._read_dir(parent, name, child)
        fd, layer = self.dir_at(parent, child)
        return self._read_file(parent, name, fd, child, layer)

    def fetch(self, node: Dir, names: Iterable[bytes]) -> None:
        """Look up those *names* of a listing that are files nobody has asked for yet.

        The same as lookup() of each, in less time. Errors are left to that.
        """
        children = self.children(node)
        last = PROBE
        for name in names:
            place = children.get(name)
            if type(place) is not int or place == PROBE:
                continue
            try:
                if place != last:
                    fd, layer = self.dir_at(node, place)
                    last = place
                found = self._read_file(node, name, fd, place, layer)
            except OSError:
                continue
            self._settle(node, name, found)

    def _probe(self, parent: Dir, name: bytes) -> int | tuple[int, ...] | None:
        """Where *name* is, asking each layer again as the merge did."""
        dirs: list[int] = []
        for place in self.places(parent):
            fd, layer = self.dir_at(parent, place)
            st, proceed = layer.lookup(fd, name)
            if st is not None:
                if not stat.S_ISDIR(st.st_mode):
                    return tuple(dirs) if dirs else place
                dirs.append(place)
                # In AUFS form a whiteout may stand beside the directory that replaces the lower.
                proceed = not (layer.aufs and layer.has(fd, formats.AUFS_PREFIX + name))
            if not proceed:
                break
        return tuple(dirs) if dirs else None

    def _read_file(
        self, parent: Dir, name: bytes, fd: int, place: int, layer: Layer
    ) -> Node | None:
        """The node of a file that is *name* in the directory *fd* of *layer*; None for a whiteout."""
        st = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not st.st_size and stat.S_ISREG(st.st_mode) and layer.xattr_whiteout(fd, name):
            return None
        bottom = layer is self._bottom
        if bottom and st.st_nlink == 1 and (st.st_blocks or not st.st_size):
            return self._plain_node(parent, name, place, st)
        upper = layer is self.stack.upper
        marks = NO_MARKS
        # Only a file with holes can be metadata without data; the bottom has no data below it.
        if upper or not bottom or (st.st_size and not st.st_blocks):
            marks = layer.marks(fd, name, is_dir=False)
        disguised = formats.is_nested_whiteout(st.st_size, marks.xattrs)
        if disguised:
            st = as_whiteout(st)
        known = self._known(upper, st)
        if known is not None:
            self.add_link(known, parent, name)
            return known
        nid = self._file_number(parent, name, upper, st, marks)
        node = Node(nid, st.st_mode, parent, name, upper)
        node.disguised = disguised
        if marks is not NO_MARKS or upper or not bottom:
            node.xattrs = marks.xattrs
        if not upper:
            node.source = parent.parts[place]
        if marks.metacopy:
            node.metacopy = True
            node.data = self._data_source(parent, name, place, marks)
        if st.st_nlink > 1:
            self._remember_link(node, upper, st)
        self.nodes[nid] = node
        node.attr = self.encode(node, st)
        return node

    def _plain_node(self, parent: Dir, name: bytes, place: int, st: os.stat_result) -> Node:
        """The node of a file with one name that can carry no mark: nearly all are of this kind."""
        nid = self.free_number(st.st_dev, st.st_ino)
        node = Node(nid, st.st_mode, parent, name, upper=False)
        node.source = parent.parts[place]
        self.nodes[nid] = node
        node.attr = self.encode(node, st)
        return node

    def _known(self, upper: bool, st: os.stat_result) -> Node | None:
        """The node that another name of the same file already has."""
        if st.st_nlink < 2:
            return None
        if upper:
            return self.links.get(st.st_ino)
        node = self.nodes.get(self.number(st.st_dev, st.st_ino))
        # A copied-up node has left this name behind: taking it for the lower file by its number
        # would serve one file's data with the other's size.
        return node if node is not None and not node.upper and not node.is_dir else None

    def _remember_link(self, node: Node, upper: bool, st: os.stat_result) -> None:
        if upper:
            node.real = st.st_ino
            self.links[st.st_ino] = node

    def _file_number(
        self, parent: Dir, name: bytes, upper: bool, st: os.stat_result, marks: Marks
    ) -> int:
        """A copied-up file keeps the number of its origin, so that it survives a remount.

        Only as a number: upper and lower are never taken for one file because of it.
        """
        if upper and marks.origin:
            nid = self._origin_number(parent, name, marks.origin)
            if nid and nid not in self.nodes:
                return nid
        return self.free_number(st.st_dev, st.st_ino)

    def _origin_number(self, parent: Dir, name: bytes, origin: bytes) -> int | None:
        """The number of the lower inode in *origin*, whose handle does not name its device.

        With lower layers on one device it can be no other; else the lower file of the same name
        tells. A file that was renamed over such layers gets a number of its own.
        """
        handle = formats.decode_origin(origin)
        ino = formats.handle_inode(handle) if handle else None
        if ino is None or not self.stack.lowers:
            return None
        devices = {os.fstat(layer.root_fd).st_dev for layer in self.stack.lowers}
        if len(devices) == 1:
            return self.number(devices.pop(), ino)
        for part in parent.parts:
            found, _ = part.layer.lookup(part.dir_fd(), name)
            if found is not None:
                return self.number(found.st_dev, ino) if found.st_ino == ino else None
        return None

    # --- directories over layers ---

    def _read_dir(self, parent: Dir, name: bytes, places: tuple[int, ...]) -> Dir:
        fd, layer = self.dir_at(parent, places[0])
        st = os.stat(name, dir_fd=fd, follow_symlinks=False)
        upper = layer is self.stack.upper
        parts, marks = self._dir_parts(parent, name, places)
        # A copied-up directory keeps the number of the lower one it came from.
        own = os.fstat(parts[0].dir_fd()) if upper and parts else st
        node = Dir(self.free_number(own.st_dev, own.st_ino), st.st_mode, parent, name, upper, parts)
        if upper or layer is not self.stack.lowers[-1]:
            node.xattrs = marks.xattrs
        if not upper:
            node.source = parent.parts[places[0]]
        self.nodes[node.nid] = node
        node.attr = self.encode(node, st)
        return node

    def _dir_parts(
        self, parent: Dir, name: bytes, places: tuple[int, ...]
    ) -> tuple[list[Part], Marks]:
        """The lower directories that merge in *name*, and the marks of the topmost directory."""
        parts: list[Part] = []
        first = NO_MARKS
        for place in places:
            fd, layer = self.dir_at(parent, place)
            if place != UPPER:
                base = parent.parts[place].path
                parts.append(Part(layer, base + b"/" + name if base else name))
                if layer is self.stack.lowers[-1]:
                    break
            marks = layer.marks(fd, name, is_dir=True)
            if place == places[0]:
                first = marks
            if marks.opaque:
                break
            if marks.redirect is not None:
                below = parent.parts[place + 1 :]
                parts.extend(self._redirected(layer, below, name, marks.redirect))
                break
        return parts, first

    def _redirected(
        self, layer: Layer, below: Sequence[Part], name: bytes, redirect: bytes
    ) -> list[Part]:
        """The lower directories of one that was renamed, following redirects of redirects."""
        found: list[Part] = []
        while True:
            below, name = self._follow(layer, below, name, redirect)
            for index, part in enumerate(below):
                path, proceed = part.layer.find_dir(part.path, name)
                if path is not None:
                    layer = part.layer
                    found.append(Part(layer, path))
                    parent, _, last = path.rpartition(b"/")
                    marks = layer.marks(layer.dir_fd(parent), last, is_dir=True)
                    if marks.opaque:
                        return found
                    if marks.redirect is not None:
                        redirect, below = marks.redirect, below[index + 1 :]
                        break
                if not proceed:
                    return found
            else:
                return found

    def _follow(
        self, layer: Layer, below: Sequence[Part], name: bytes, redirect: bytes
    ) -> tuple[Sequence[Part], bytes]:
        if not self.follow_redirects:
            raise OSError(errno.EPERM, "redirect found with redirect_dir=nofollow", name)
        if not formats.valid_redirect(redirect):
            raise OSError(errno.EIO, "malformed redirect", name)
        if redirect.startswith(b"/"):
            start = -1 if layer is self.stack.upper else layer.index
            roots = [Part(lower, b"") for lower in self.stack.lowers if lower.index > start]
            return roots, redirect[1:]
        parent = name.rpartition(b"/")[0]
        return below, parent + b"/" + redirect if parent else redirect

    def _data_source(
        self, parent: Dir, name: bytes, place: int, marks: Marks
    ) -> tuple[Part, bytes] | None:
        """Where the data of a metadata-only copy is; None when no layer has it."""
        own = UPPER if place == UPPER else parent.parts[place].layer.index
        below: Sequence[Part] = parent.parts[place + 1 :]
        redirect = marks.redirect
        if redirect is not None:
            if not formats.valid_redirect(redirect):
                return None
            if redirect.startswith(b"/"):
                layers = [low for low in self.stack.lowers if low.index > own]
                below = [Part(low, b"") for low in (*layers, *self.stack.data_only)]
            name = redirect.lstrip(b"/")
        return self._find_data(below, name)

    def _find_data(self, below: Sequence[Part], name: bytes) -> tuple[Part, bytes] | None:
        for part in below:
            head, _, last = name.rpartition(b"/")
            path: bytes | None = part.path
            if head:
                path, _ = part.layer.find_dir(part.path, head)
            if path is None:
                continue
            try:
                fd = part.layer.dir_fd(path)
            except FileNotFoundError:
                continue
            st, proceed = part.layer.lookup(fd, last)
            if st is not None and stat.S_ISREG(st.st_mode):
                deeper = part.layer.marks(fd, last, is_dir=False)
                if not deeper.metacopy:
                    return Part(part.layer, path), last
            elif not proceed:
                return None
        return None

    # --- names come and go ---

    def lower_has(self, parent: Dir, name: bytes) -> bool:
        """Whether *name* would show from the layers below if the upper did not have it."""
        for part in parent.parts:
            st, proceed = part.layer.lookup(part.dir_fd(), name)
            if st is not None:
                return True
            if not proceed:
                return False
        return False

    def add(self, node: Node, parent: Dir, name: bytes) -> None:
        """Enter a node made by the upper."""
        self.children(parent)[name] = node
        parent.changed = True
        self.nodes[node.nid] = node

    def add_link(self, node: Node, parent: Dir, name: bytes) -> None:
        """Give *node* one more name."""
        if node.parent is None:
            node.parent, node.name = parent, name
        elif (node.parent, node.name) != (parent, name):
            if node.links is None:
                node.links = set()
            node.links.add((parent, name))

    def remove(self, node: Node, parent: Dir, name: bytes) -> None:
        """Take the name away from *node*; its last one leaves it without a parent."""
        if parent.children is not None and parent.children.get(name) is node:
            del parent.children[name]
            parent.changed = True
        if node.parent is parent and node.name == name:
            if node.links:
                node.parent, node.name = node.links.pop()
            else:
                node.parent = None
                if node.real:
                    self.links.pop(node.real, None)
        elif node.links:
            node.links.discard((parent, name))

    def find_links(self, node: Node, st: os.stat_result) -> None:
        """Give the lower file *node* all its names that show in the union.

        Searches its layer once for names of the same inode; costs a walk of that layer, for the
        rare change of a file that has several names.
        """
        if node.source is None:
            return
        for parent, name in self.names_of(node.source.layer, st.st_ino, st.st_nlink):
            self.lookup(parent, name)

    def names_of(self, layer: Layer, ino: int, links: int) -> list[tuple[Dir, bytes]]:
        """Where the names of an inode of a lower layer show, or did: as directory and name.

        Directories may have been renamed, so those of the upper that were are looked up first.
        Walks the layer and the upper.
        """
        if self.stack.upper is not None:
            for path in self.stack.upper.redirected_dirs():
                self.resolve(path)
        shown = {
            part.path: node
            for node in self.nodes.values()
            if isinstance(node, Dir)
            for part in node.parts
            if part.layer is layer
        }
        found = []
        for path in layer.paths_of(ino, links):
            head, _, name = path.rpartition(b"/")
            parent = self._showing(shown, head)
            if parent is not None:
                found.append((parent, name))
        return found

    def _showing(self, shown: Mapping[bytes, Dir], path: bytes) -> Dir | None:
        """The directory that shows *path* of a layer: below the nearest one in *shown*."""
        names: list[bytes] = []
        while path and path not in shown:
            path, _, name = path.rpartition(b"/")
            names.insert(0, name)
        node: Node | None = shown.get(path)
        for name in names:
            node = self.lookup(node, name) if isinstance(node, Dir) else None
        return node if isinstance(node, Dir) else None

    def resolve(self, path: bytes) -> Node | None:
        """The node at *path* (slash-separated, relative to the root), symlinks not followed."""
        node: Node | None = self.root
        for name in path.split(b"/") if path else ():
            if not isinstance(node, Dir):
                return None
            node = self.lookup(node, name)
        return node

    def names(self, node: Node) -> list[tuple[Dir, bytes]]:
        """All places where *node* is known to be."""
        if node.parent is None:
            return []
        return [(node.parent, node.name), *(node.links or ())]

    def refresh(self, node: Node) -> object:
        """Read the node's attributes again; returns what encode made of them."""
        return self.note(node, self.stat(node))

    def size(self, node: Node) -> int:
        """Bytes of *node* as last answered: what is kept for that has the fields of a stat result."""
        return int(cast(Any, node.attr or self.refresh(node)).st_size)

    def note(self, node: Node, st: os.stat_result) -> object:
        """Take over the node's new stat; returns what encode made of it."""
        node.mode = st.st_mode
        attr = self.encode(node, st)
        node.attr = None if node.backing else attr
        return attr

    def stat(self, node: Node) -> os.stat_result:
        """The stat of the topmost file behind *node*."""
        st = self._real_stat(node)
        return as_whiteout(st) if node.disguised else st

    def _real_stat(self, node: Node) -> os.stat_result:
        if node.fd >= 0 and not node.metacopy:
            return os.fstat(node.fd)
        if node is self.root:
            top = self.stack.upper or self.stack.lowers[0]
            return os.fstat(top.root_fd)
        fd, name, _ = self.place(node)
        return os.stat(name, dir_fd=fd, follow_symlinks=False)

    def part(self, node: Node) -> None:
        """Leave the open descriptor and the number of *node* to a node without a name.

        Whoever has it open goes on with that one; the names lead to *node*, which nobody knows yet.
        """
        ghost = Node(node.nid, node.mode, None, b"", node.upper)
        for field in _KEPT_BY_HANDLES:
            setattr(ghost, field, getattr(node, field))
        node.fd, node.opens, node.lookups, node.backing, node.attr = -1, 0, 0, 0, None
        node.nid = self._invent()
        self.nodes[ghost.nid], self.nodes[node.nid] = ghost, node

    # --- forgetting ---

    def forget(self, nid: int, count: int) -> None:
        """The kernel gives back *count* lookups; a node nobody knows any more is dropped."""
        node = self.nodes.get(nid)
        if node is None:
            return
        node.lookups -= count
        if node.lookups <= 0:
            self.drop_unused(node)
            if self._dropped > max(_MANY, len(self.nodes)):
                self._give_back()

    def _give_back(self) -> None:
        """Let the allocator return the memory of dropped nodes, once they are the greater part.

        A table keeps its size when it empties, and free lists keep thousands of tuples: each
        of them holds on to the mebibyte that it lies in. A full collection clears them.
        """
        self._dropped = 0
        kept = dict(self.nodes)
        self.nodes.clear()
        self.nodes.update(kept)
        gc.collect()

    def drop_unused(self, node: Node) -> None:
        """Give back the memory of *node*, and of parents kept only for its sake."""
        while node.lookups <= 0 and not node.opens and node is not self.root:
            if isinstance(node, Dir) and not self._drop_children(node):
                return
            parent = node.parent
            self._drop(node)
            if parent is None or parent.lookups > 0:
                return
            node = parent

    def _drop_children(self, node: Dir) -> bool:
        """Drop the subtree below *node* unless something in it is still known."""
        if node.children is None:
            return True
        below = [child for child in node.children.values() if isinstance(child, Node)]
        for child in below:
            if child.lookups > 0 or child.opens:
                return False
            if isinstance(child, Dir) and child.children is not None:
                return False
        for child in below:
            self._drop(child)
        node.children = None
        return True

    def _drop(self, node: Node) -> None:
        for parent, name in self.names(node):
            if parent.children is not None and parent.children.get(name) is node:
                parent.children[name] = PROBE
        if isinstance(node, Dir):
            self.forget_fds(node)
        if node.fd >= 0:
            os.close(node.fd)
            node.fd = -1
        if node.real and self.links.get(node.real) is node:
            del self.links[node.real]
        if self.nodes.get(node.nid) is node:
            del self.nodes[node.nid]
            self._dropped += 1
        # Names go with the node: a stale handle must not find its way back into the tree.
        node.parent = None
        node.links = None


def as_whiteout(st: os.stat_result) -> os.stat_result:
    """The stat of an empty file, looking like a character device 0:0."""
    fields = {name: getattr(st, name) for name in dir(st) if name.startswith("st_")}
    fields["st_mode"] = stat.S_IFCHR
    fields["st_rdev"] = 0
    return os.stat_result((stat.S_IFCHR, *st[1:]), fields)


def path_of(node: Node) -> bytes:
    """The node's path in the union, without a leading slash; for messages and redirects."""
    parts: list[bytes] = []
    step: Node | None = node
    while step is not None and step.parent is not None:
        parts.append(step.name)
        step = step.parent
    return b"/".join(reversed(parts))
