"""scripts/bench-layers works, with every tool; how fast is for no test to say."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from registrytest.debian import registry_program

SCRIPT = Path(__file__).parents[2] / "scripts/bench-layers"
OTHERS = {
    "unpack": ["umoci"],
    "import": ["skopeo + umoci"],
    "commit": ["umoci"],
    "images": [],
    "run-kernel": ["mount + bubblewrap"],
    "run-fuse": ["mount + bubblewrap"],
    "build-cold": ["buildah overlay", "buildah vfs"],
    "build-warm": ["buildah overlay", "buildah vfs"],
    "pull": ["skopeo + umoci"],
}

pytestmark = [
    pytest.mark.needs("root", "fuse", "overlay", "umoci", "skopeo", "bwrap", "buildah"),
    pytest.mark.mounted,
    pytest.mark.slow,
]


def test_every_tool_does_every_workload(tmp_path: Path) -> None:
    workloads = list(OTHERS)
    if isinstance(missing := registry_program(), str):
        assert os.environ.get("CI") != "true", missing
        workloads.remove("pull")
    stem = tmp_path / "result"
    done = subprocess.run(
        [SCRIPT, "--small", "--rounds", "1", "--room", tmp_path, "--output", stem, *workloads],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fails at" not in done.stderr
    seconds = json.loads(stem.with_suffix(".json").read_text())["seconds"]
    assert list(seconds) == workloads
    for name, found in seconds.items():
        assert list(found) == ["layertool", *OTHERS[name]]
        assert all(len(spent) == 1 and spent[0][0] > 0 for spent in found.values()), name
    assert done.stdout == stem.with_suffix(".md").read_text() + "\n"
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "unknown nonsense; known: unpack, "),
        (["--rootfs", "/none"], "does not exist"),
    ],
)
def test_wrong_command_lines(arguments: list[str], message: str) -> None:
    done = subprocess.run(
        [SCRIPT, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr
