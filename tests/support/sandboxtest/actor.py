"""Runs one process in a merged view, as its own program: namespaces and forks stay out of pytest.

usage: actor.py JSON, with the keys of `Request`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from layertool.errors import LayertoolError
from layertool.sandbox import Bind, InitLayer, Process, Tmpfs, enter, merged, run


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
    enter()
    init = InitLayer.standard(
        hostname=process.hostname, network=process.network, mounts=process.mounts
    )
    layers = [Path(layer) for layer in request["layers"]]
    with merged(
        layers, room / "upper", room / "work", room / "merged", request["driver"], init=init
    ) as root:
        return run(root, process)


if __name__ == "__main__":
    try:
        sys.exit(main(json.loads(sys.argv[1])))
    except LayertoolError as error:
        print(f"layertool: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
