"""Runs one process in a merged view, as its own program: namespaces and forks stay out of pytest.

usage: actor.py JSON. With `join` it runs the process in the container of that pid 1 instead; else
it writes the pid of its own into ROOM/init.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layertool.errors import LayertoolError
from layertool.sandbox import Bind, InitLayer, Process, Tmpfs, enter, join, merged, runner
from layertool.sandbox.running import Running
from layertool.sandbox.signals import Forwarder


def main(request: dict[str, Any]) -> int:
    room = Path(request["room"])
    settings = dict(request["process"])
    settings["mounts"] = [
        Tmpfs(item["target"])
        if "source" not in item
        else Bind(Path(item["source"]), item["target"], item.get("read_only", False))
        for item in settings.get("mounts", [])
    ]
    process = Process(**settings)
    with Forwarder() as forwarder:
        if "join" in request:
            return runner.attend(join.start(request["join"], process), process, forwarder)
        with _started(request, room, process) as running:
            (room / "init").write_text(str(running.init_pid))
            return runner.attend(running, process, forwarder)


@contextmanager
def _started(request: dict[str, Any], room: Path, process: Process) -> Iterator[Running]:
    enter()
    init = InitLayer.standard(
        hostname=process.hostname, network=process.network, mounts=process.mounts
    )
    layers = [Path(layer) for layer in request["layers"]]
    with merged(
        layers, room / "upper", room / "work", room / "merged", request["driver"], init=init
    ) as root:
        yield runner.start(root, process)


if __name__ == "__main__":
    try:
        sys.exit(main(json.loads(sys.argv[1])))
    except LayertoolError as error:
        print(f"layertool: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
