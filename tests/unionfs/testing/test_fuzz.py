"""The search finds nothing in the driver; what it finds in a broken one is in test_mutants.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from unionfs.testing.bench import Lab
from unionfs.testing.compare import Case, compare
from unionfs.testing.drivers import ALL_ON, find_driver
from unionfs.testing.fuzz import fuzz
from unionfs.testing.language import Chmod
from unionfs.testing.layers import file
from unionfs.testing.script import case_script

pytestmark = [pytest.mark.mounted, pytest.mark.differential]

SEED = 20
INDEXED = "kernel:redirect_dir=on,index=on"
# Who is compared, and on how many sequences of the same seed.
PAIRS = (
    ("kernel", "unionfs", 120),
    ("kernel", "unionfs:redirect_dir=off", 90),
    (INDEXED, "unionfs", 110),
    (f"kernel:{ALL_ON}", "unionfs", 60),
    ("kernel@userns", "unionfs@userns", 90),
    ("directory", "unionfs", 50),
)
IN_ALL = 500


@pytest.fixture(scope="module")
def counts() -> list[int]:
    """How many sequences each pair did without a difference."""
    return []


@pytest.mark.slow
@pytest.mark.parametrize(("left", "right", "examples"), PAIRS, ids=lambda value: str(value))
def test_no_difference_outside_the_declared_tables(
    left: str, right: str, examples: int, counts: list[int]
) -> None:
    drivers = find_driver(left), find_driver(right)
    with Lab() as lab:
        findings = fuzz(lab, *drivers, examples=examples, seed_number=SEED)
    assert findings.case is None, case_script(findings.case, drivers, findings.differences)
    counts.append(findings.examples)


@pytest.mark.slow
def test_how_many_sequences_were_compared(
    counts: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    if len(counts) < len(PAIRS):
        pytest.skip("impossible here: only some of the pairs were run, or one differs")
    with capsys.disabled():
        print(f"\n{sum(counts)} sequences compared, 0 differences outside the declared tables")
    assert sum(counts) >= IN_ALL


def test_a_mount_that_hangs_is_a_difference_and_leaves_nothing(tmp_path: Path) -> None:
    hang = tmp_path / "hang.py"
    hang.write_text(
        "import time\n"
        "from unionfs import union\n"
        "def plant(_):\n"
        "    union.Union.setattr = lambda self, node, changes: time.sleep(1000)\n"
    )
    with Lab(prelude=f"{hang}:plant,", patience=2) as lab:
        kernel, ours = find_driver("kernel"), find_driver("unionfs")
        case = Case(((file("a", "x"),),), (Chmod("a", 0o600),))
        report = compare(lab, kernel, ours, case)
        root = lab.root
    assert "hung" in str(report.differences[0])
    assert not Path(root).exists()
    assert root not in Path("/proc/self/mountinfo").read_text()
