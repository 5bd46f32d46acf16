"""Pull of a many-layer image from loopback, side by side with skopeo and umoci.

    python -m registrytest.bench ROOTFS.tar WORKDIR [--layers N] [--rounds N]

Prints one JSON object: seconds of each round, on the clock and of CPU, medians, and `ratio`, ours
over theirs by the clock. On a busy machine the CPU seconds say more.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from layertool.oci.model import Descriptor
from layertool.oci.names import Reference
from layertool.transport.registry.client import Client
from layertool.transport.registry.push import put_manifest
from layertool.transport.registry.upload import Uploader
from registrytest.debian import registry_program, running_registry
from registrytest.images import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    MadeImage,
    descriptor,
    digest_of,
)


def split_rootfs(rootfs: Path, count: int) -> MadeImage:
    """An image of `count` gzip layers, each a stretch of about the same size of one rootfs tar."""
    buffers = [io.BytesIO() for _ in range(count)]
    share = rootfs.stat().st_size // count + 1
    place: dict[str, int] = {}
    with ExitStack() as stack:
        writers = [
            stack.enter_context(tarfile.open(fileobj=buffer, mode="w")) for buffer in buffers
        ]
        source = stack.enter_context(tarfile.open(rootfs))
        for member in source:
            # A hard link lies in the layer of its target: a layer must be complete in itself.
            layer = place.get(member.linkname, 0) if member.islnk() else member.offset // share
            place[member.name] = layer
            writers[layer].addfile(member, source.extractfile(member) if member.isreg() else None)
    tars = [buffer.getvalue() for buffer in buffers]
    return _image(tars, [gzip.compress(tar, 6, mtime=0) for tar in tars])


def _image(tars: Sequence[bytes], blobs: list[bytes]) -> MadeImage:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
        "history": [{"created_by": "bench"} for _ in tars],
    }
    raw_config = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(raw_config, OCI_CONFIG),
        "layers": [descriptor(blob, OCI_LAYER) for blob in blobs],
    }
    return MadeImage(json.dumps(manifest).encode(), raw_config, blobs)


def push_made(image: MadeImage, reference: Reference) -> None:
    """Put a made image into a registry."""
    client = Client(reference.domain, reference.path)
    uploader = Uploader(client, reference.path)
    for blob in image.blobs.values():
        uploader.put(Descriptor.of(blob, OCI_LAYER), lambda blob=blob: io.BytesIO(blob))  # type: ignore[misc]
    put_manifest(client, reference, image.manifest, image.media_type)


def measure(domain: str, work: Path, rounds: int) -> dict[str, object]:
    """Seconds of `layertool pull` and of `skopeo copy` + `umoci unpack`, in turns."""
    name = f"{domain}/bench:1"
    layertool = Path(sys.executable).with_name("layertool")
    layout, bundle, store = work / "layout", work / "bundle", work / "store"

    def ours() -> None:
        _run(layertool, "--root", store, "pull", "-q", name)

    def theirs() -> None:
        _run(
            "skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{layout}:1"
        )
        _run("umoci", "unpack", "--image", f"{layout}:1", bundle)

    spent: dict[str, list[tuple[float, float]]] = {"layertool": [], "skopeo+umoci": []}
    for _ in range(rounds):
        for label, pull in (("layertool", ours), ("skopeo+umoci", theirs)):
            for path in (layout, bundle, store):
                shutil.rmtree(path, ignore_errors=True)
            _run("sync")
            spent[label].append(_timed(pull))
    clock = {label: statistics.median(clock for clock, _ in each) for label, each in spent.items()}
    cpu = {label: statistics.median(cpu for _, cpu in each) for label, each in spent.items()}
    return {
        "rounds": spent,
        "clock": clock,
        "cpu": cpu,
        "ratio": clock["layertool"] / clock["skopeo+umoci"],
    }


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the clock, and of CPU in the processes that `work` ran."""
    before, started = os.times(), time.monotonic()
    work()
    after, ended = os.times(), time.monotonic()
    cpu = after.children_user - before.children_user
    cpu += after.children_system - before.children_system
    return round(ended - started, 2), round(cpu, 2)


def _run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, timeout=600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rootfs", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    program = registry_program()
    if isinstance(program, str):
        sys.exit(program)
    image = split_rootfs(arguments.rootfs, arguments.layers)
    with running_registry(program, arguments.work / "registry") as registry:
        push_made(image, Reference.parse(f"{registry.domain}/bench:1"))
        print(json.dumps(measure(registry.domain, arguments.work, arguments.rounds), indent=2))


if __name__ == "__main__":
    main()
