"""Run a process in a merged view of layers: isolated, with docker's rules and exit codes.

    with merged(layers, upper, work, at, init=InitLayer.standard()) as root:
        status = run(root, Process(argv=["/bin/sh", "-c", "id"]))

Everything is imported on first use: commands that only look at containers need little of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layertool.sandbox.initlayer import InitLayer
    from layertool.sandbox.merge import merged
    from layertool.sandbox.namespaces import enter
    from layertool.sandbox.process import DOCKER_CAPABILITIES, Bind, Process, Tmpfs
    from layertool.sandbox.runner import run

_HOMES = {
    "InitLayer": "initlayer",
    "merged": "merge",
    "enter": "namespaces",
    "DOCKER_CAPABILITIES": "process",
    "Bind": "process",
    "Process": "process",
    "Tmpfs": "process",
    "run": "runner",
}

__all__ = ["DOCKER_CAPABILITIES", "Bind", "InitLayer", "Process", "Tmpfs", "enter", "merged", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
