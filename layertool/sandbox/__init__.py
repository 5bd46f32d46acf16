"""Run a process in a merged view of layers: isolated, with docker's rules and exit codes.

with merged(layers, upper, work, at, init=InitLayer.standard()) as root:
    status = run(root, Process(argv=["/bin/sh", "-c", "id"]))
"""

from layertool.sandbox.initlayer import InitLayer
from layertool.sandbox.merge import merged
from layertool.sandbox.namespaces import enter
from layertool.sandbox.process import DOCKER_CAPABILITIES, Bind, Process, Tmpfs
from layertool.sandbox.runner import run

__all__ = ["DOCKER_CAPABILITIES", "Bind", "InitLayer", "Process", "Tmpfs", "enter", "merged", "run"]
