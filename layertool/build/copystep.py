"""COPY and ADD: files from the context, a stage, an image, the Dockerfile itself or a URL."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from layertool.build import archives, remote
from layertool.build.cache import Input
from layertool.build.copying import Attributes, Writer
from layertool.build.draft import Draft
from layertool.build.duplicates import Duplicates
from layertool.build.gopath import BadPattern
from layertool.build.instructions import Add, Copy
from layertool.build.modes import Chmod, parse_chmod
from layertool.build.parser import is_url
from layertool.build.progress import StepLog
from layertool.build.remote import Remote
from layertool.build.selection import Item, Selection, names_directory, select
from layertool.build.step import Step
from layertool.build.tree import Tree
from layertool.build.workspace import Workspace, needs_names, resolve_owner
from layertool.errors import LayertoolError

_URL_MODE = 0o600


@dataclass(slots=True)
class CopyStep(Step):
    """One COPY or ADD. `words` is the instruction with every word expanded."""

    instruction: Copy
    words: Copy = field(init=False)
    _chmod: Chmod | None = field(init=False, default=None)
    _remotes: list[Remote] = field(init=False, default_factory=list)
    warnings: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.words = self._expanded()
        if self.words.chmod is not None:
            try:
                self._chmod = parse_chmod(self.words.chmod)
            except ValueError as error:
                self.place.fail(f"--chmod: {error}")

    def _expanded(self) -> Copy:
        raw = self.instruction

        def expand(word: str) -> str:
            return self.scope.expand(word, self.place)

        def maybe(word: str | None) -> str | None:
            return None if word is None else expand(word) or None

        changed = replace(
            raw,
            sources=tuple(map(expand, raw.sources)),
            dest=expand(raw.dest),
            chown=maybe(raw.chown),
            chmod=maybe(raw.chmod),
            exclude=tuple(map(expand, raw.exclude)),
            inline=tuple(
                replace(doc, body=self.scope.expand(doc.content, self.place, heredoc=True))
                if doc.expand
                else replace(doc, body=doc.content)
                for doc in raw.inline
            ),
        )
        if isinstance(changed, Add):
            return replace(changed, checksum=maybe(changed.checksum))
        return changed

    # -- the instruction as data

    def depends_on_state(self) -> bool:
        """With `--link` the layer does not look at what is below it, but for the owner's name."""
        words = self.words
        return not words.link or (words.chown is not None and needs_names(words.chown))

    @property
    def dest(self) -> str:
        """The destination, absolute; a trailing slash keeps its meaning."""
        joined = posixpath.join("/", self.before.workdir(), self.words.dest)
        cleaned = "/" + posixpath.normpath(joined).lstrip("/")
        return cleaned + "/" if names_directory(self.words.dest) and cleaned != "/" else cleaned

    def _local(self) -> tuple[str, ...]:
        return tuple(source for source in self.words.sources if not self._is_remote(source))

    def _is_remote(self, source: str) -> bool:
        return isinstance(self.words, Add) and is_url(source)

    @property
    def created_by(self) -> str:
        words = self.words
        flags = [
            *([f"--from={words.from_}"] if words.from_ else []),
            *([f"--chown={words.chown}"] if words.chown else []),
            *([f"--chmod={words.chmod}"] if words.chmod else []),
            *(["--link"] if words.link else []),
            *(["--parents"] if words.parents else []),
            *(f"--exclude={pattern}" for pattern in words.exclude),
        ]
        inline = [f"<<{doc.word}" for doc in words.inline]
        return " ".join([words.keyword, *flags, *words.sources, *inline, self.dest])

    # -- the key

    def inputs(self) -> Iterator[Input]:
        words = self.words
        yield Input("instruction", "", self.created_by)
        if isinstance(words, Add):
            yield Input("setting", "--unpack", str(words.unpack))
        for doc in words.inline:
            yield Input("file", doc.word, f"inline {hashlib.sha256(doc.body.encode()).hexdigest()}")
        yield from self._local_inputs()
        for source in words.sources:
            if self._is_remote(source):
                found = self._check_remote(source)
                yield Input("url", source, f"{found.digest} {found.mtime_ns}")

    def _local_inputs(self) -> Iterator[Input]:
        if not self._local():
            return
        if self.words.from_ is None:
            with self.services.source.open_tree() as tree:
                yield from self._tree_inputs(tree)
            return
        draft = self.services.find(self.words.from_, self.place)
        note = self._note_key(draft)
        known = self.services.hashes.note(note)
        if known is None:
            # Files of a stage are compared by content too, so that a stage rebuilt to the same
            # files does not rebuild what copies from it. Looking costs a mount, hence the note.
            known = json.dumps(self._stage_files(draft)).encode()
            self.services.hashes.set_note(note, known)
        for name, value in json.loads(known):
            yield Input("file", name, value)

    def _note_key(self, draft: Draft) -> str:
        words = self.words
        parts = [draft.content_digest(), words.sources, words.dest, words.parents, words.exclude]
        parts.append(words.chmod)
        return "copy:" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _stage_files(self, draft: Draft) -> list[tuple[str, str]]:
        with self._stage_tree(draft) as tree:
            return [(item.name, item.value) for item in self._tree_inputs(tree)]

    @contextlib.contextmanager
    def _stage_tree(self, draft: Draft) -> Iterator[Tree]:
        layers = self.services.layer_dirs(draft)
        what = f"--from={self.words.from_}"
        with (
            self.services.workspace() as workspace,
            workspace.view(layers, "source") as root,
            Tree(root, what, keep_ids=True) as tree,
        ):
            yield tree

    def _tree_inputs(self, tree: Tree) -> Iterator[Input]:
        selection = self._select(tree)
        for pattern in selection.empty_patterns:
            self.warnings.append(f"{pattern} matches nothing in {tree.what}")
        for name, value in selection.inputs(self.services.hashes, self._chmod):
            yield Input("file", name, value)

    def _select(self, tree: Tree) -> Selection:
        words = self.words
        try:
            found = select(
                tree, self._local(), words.dest, parents=words.parents, exclude=words.exclude
            )
        except (LayertoolError, BadPattern) as error:
            self.place.fail(str(error))
        several = len(words.sources) + len(words.inline) > 1
        return replace(found, into_directory=True) if several else found

    def _check_remote(self, url: str) -> Remote:
        for found in self._remotes:
            if found.url == url:
                return found
        checksum = self.words.checksum if isinstance(self.words, Add) else None
        try:
            found = remote.check(url, self.services.downloads, self.services.hashes, checksum)
        except LayertoolError as error:
            self.place.fail(str(error))
        self._remotes.append(found)
        return found

    # -- running

    def fill(self, workspace: Workspace, log: StepLog) -> bool:
        for warning in self.warnings:
            log.reporter.warning(f"{self.place.file}:{self.place.line}: {warning}")
        layers = self.services.layer_dirs(self.before)
        owner = self._owner(workspace, layers)
        with workspace.root([] if self.words.link else layers) as root:
            root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with Writer(root_fd, Attributes(owner, self._chmod)) as writer:
                    self._write_all(writer, workspace)
            except LayertoolError as error:
                self.place.fail(str(error))
            finally:
                os.close(root_fd)
        return True

    def _owner(self, workspace: Workspace, layers: list[Path]) -> tuple[int, int] | None:
        chown = self.words.chown
        if chown is None:
            return None
        try:
            if not needs_names(chown):
                return resolve_owner(workspace.room, chown)
            with workspace.view(layers, "names") as root:
                return resolve_owner(root, chown)
        except LayertoolError as error:
            self.place.fail(f"--chown: {error}")

    def _write_all(self, writer: Writer, workspace: Workspace) -> None:
        if self._local():
            with self._source_tree() as tree:
                self._write_tree(writer, tree, workspace)
        into = len(self.words.sources) + len(self.words.inline) > 1 or self.dest.endswith("/")
        for doc in self.words.inline:
            writer.write(doc.body.encode("utf-8", "surrogateescape"), doc.word, self.dest, into)
        for source in self.words.sources:
            if self._is_remote(source):
                self._write_remote(writer, self._check_remote(source), into, workspace)

    @contextlib.contextmanager
    def _source_tree(self) -> Iterator[Tree]:
        if self.words.from_ is None:
            with self.services.source.open_tree() as tree:
                yield tree
            return
        with self._stage_tree(self.services.find(self.words.from_, self.place)) as tree:
            yield tree

    def _write_tree(self, writer: Writer, tree: Tree, workspace: Workspace) -> None:
        selection = self._select(tree)
        packed = [item for item in selection.items if self._unpacks(tree, item)]
        for item in packed:
            self._unpack(writer, tree.open(item.entry.path), item.entry.path, workspace)
        rest = tuple(item for item in selection.items if item not in packed)
        if rest or not packed:
            writer.copy(replace(selection, items=rest), self.dest)

    def _unpacks(self, tree: Tree, item: Item) -> bool:
        """ADD unpacks archives that are named, not those in a directory that is."""
        words = self.words
        if not isinstance(words, Add) or words.unpack is False or not item.named:
            return False
        if not archives.is_regular(item.entry.info):
            return False
        fd = tree.open(item.entry.path)
        try:
            return archives.is_archive(fd)
        finally:
            os.close(fd)

    def _unpack(self, writer: Writer, fd: int, name: str, workspace: Workspace) -> None:
        """Unpack straight into the destination, or aside when flags change every file."""
        plain = self.words.chown is None and self.words.chmod is None and not self.words.exclude
        with contextlib.closing(os.fdopen(fd, "rb")) as stream:
            if plain:
                with writer.directory(self.dest) as target:
                    archives.unpack(stream, target, name)
                return
            aside = workspace.room / "unpacked"
            aside.mkdir()
            with archives.opened(aside) as target:
                archives.unpack(stream, target, name)
        with Tree(aside, name, keep_ids=True) as tree:
            writer.copy(select(tree, ["."], "/", exclude=self.words.exclude), self.dest)
        archives.discard(aside)

    def _write_remote(
        self, writer: Writer, found: Remote, into: bool, workspace: Workspace
    ) -> None:
        words = self.words
        path = remote.fetch(found, self.services.downloads)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if isinstance(words, Add) and words.unpack and archives.is_archive(fd):
            self._unpack(writer, fd, found.url, workspace)
            return
        try:
            name = remote.file_name(found.url)
            if name is None:
                if into:
                    self.place.fail("the URL ends in no file name; name the destination file")
                name = "download"
            target = writer.target_of(self.dest, name, into)
            writer.write_stream(fd, target, _URL_MODE, found.mtime_ns)
        finally:
            os.close(fd)

    def advice(self, found: Duplicates) -> str:
        return f"{found.describe()}; copy the file only once, with the flags it needs"
