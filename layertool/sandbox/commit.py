"""A container's changes as a new image: `commit`."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from layertool.build.draft import Draft, Layer
from layertool.build.instructions import Instruction
from layertool.build.metadata import Metadata
from layertool.build.parser import parse_dockerfile
from layertool.build.scope import BuildArgs, Scope
from layertool.epoch import parse_epoch, timestamp
from layertool.errors import LayertoolError, UsageError
from layertool.oci.platform import host_platform
from layertool.sandbox import linux, merge, namespaces
from layertool.sandbox.running import payload_pid
from layertool.sandbox.spec import ContainerSpec
from layertool.sandbox.state import State

if TYPE_CHECKING:
    from layertool.oci.names import Reference
    from layertool.store import Container, Image, NewLayer, Store

Watch = Callable[[BinaryIO], BinaryIO]

_CHANGES: Final = {
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
}


@dataclass(frozen=True, slots=True)
class CommitFlags:
    """`changes` are Dockerfile instructions, as docker's `--change` takes them."""

    changes: Sequence[str] = ()
    message: str = ""
    author: str = ""
    squash: bool = False


def commit(
    store: Store,
    container: Container,
    base: Image | None,
    name: Reference,
    flags: CommitFlags,
    watch: Watch | None = None,
) -> Image:
    """Pack the container's upper into a layer on top of `base`, and name the result.

    The base's config and history are kept as they are. With `squash` the whole merged view becomes
    one layer instead. A running container is committed as it is now. `watch` may wrap the file that
    the layer is written to. With SOURCE_DATE_EPOCH the same
    changes make the same image, to the digest.
    """
    epoch = parse_epoch()
    _flush(container)
    namespaces.enter_for_files()
    draft = _draft(base)
    apply_changes(draft, flags.changes)
    if flags.author:
        draft.document["author"] = flags.author
    spec = ContainerSpec.from_dict(container.config)
    created_by = " ".join(spec.argv) or "mount --rw"
    with store.lease():
        if flags.squash:
            new = _pack_everything(store, container, base, epoch, watch)
            draft.layers.clear()
            draft.base.clear()
            draft.document.pop("history", None)
        else:
            new = store.commit_layer(container.upper, epoch=epoch, watch=watch)
        draft.record(created_by, timestamp(epoch), _layer(new))
        if flags.message:
            draft.document["history"][-1]["comment"] = flags.message
        manifest, config = draft.finish()
        return store.put_image(manifest, config, names=[name])


def apply_changes(draft: Draft, changes: Sequence[str]) -> None:
    """Apply `--change` instructions to an image's config. Raises UsageError for a bad one."""
    scope = Scope(env=draft.env())
    metadata = Metadata(draft, scope, BuildArgs({}, {}))
    for text in changes:
        try:
            metadata.apply(_parse_change(text))
        except LayertoolError as error:
            raise UsageError(f"--change {text!r}: {error}") from None


def _parse_change(text: str) -> Instruction:
    stages = parse_dockerfile(f"FROM scratch\n{text}\n".encode(), "--change").stages
    instructions = [instruction for stage in stages for instruction in stage.body]
    if len(stages) != 1 or len(instructions) != 1:
        raise UsageError("must be one instruction")
    if instructions[0].keyword not in _CHANGES:
        raise UsageError(f"{instructions[0].keyword} changes more than the config")
    return instructions[0]


def _draft(base: Image | None) -> Draft:
    """What the commit starts from: the base with every field of its config, or nothing."""
    if base is None:
        platform = host_platform()
        return Draft.scratch(platform.os, platform.architecture, platform.variant)
    pairs = zip(base.manifest.layers, base.config.rootfs.diff_ids, strict=True)
    layers = [
        Layer(descriptor.mediaType, descriptor.digest, descriptor.size, diff_id)
        for descriptor, diff_id in pairs
    ]
    origin = {"digest": str(base.manifest_digest)}
    if base.names:
        origin["name"] = str(base.names[0])
    return Draft.derive(base.config.raw, layers, origin)


def _layer(new: NewLayer) -> Layer:
    return Layer(
        media_type=new.descriptor.mediaType,
        digest=new.descriptor.digest,
        size=new.descriptor.size,
        diff_id=new.diff_id,
    )


def _flush(container: Container) -> None:
    """Bring what a running container wrote into its upper: a union may still hold it in memory."""
    init = State.load(container.dir, running=container.running).live_init()
    payload = payload_pid(init) if init is not None else None
    if payload is None:
        return
    with contextlib.suppress(OSError):  # it ended: unmounting has flushed
        fd = os.open(f"/proc/{payload}/root", os.O_RDONLY | os.O_DIRECTORY)
        try:
            linux.syncfs(fd)
        finally:
            os.close(fd)


def _pack_everything(
    store: Store,
    container: Container,
    base: Image | None,
    epoch: int | None,
    watch: Watch | None,
) -> NewLayer:
    """The merged view as one layer, without the whiteouts that have nothing left to hide."""
    namespaces.enter()
    layers = [container.upper, *(base.layer_dirs() if base else [])]
    with (
        tempfile.TemporaryDirectory(prefix="layertool-squash-") as room,
        merge.merged(layers, None, None, Path(room) / "merged") as view,
    ):
        return store.commit_layer(view, epoch=epoch, watch=watch)
