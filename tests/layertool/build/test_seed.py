"""The Dockerfiles that the project started from, run for real.

By default apt installs from a repository that the test makes, on a Debian cut out of this machine;
with LAYERTOOL_TEST_MIRROR=1 it is a debootstrap of the mirror, and the real packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from buildtest import KINDS, Bench, debian, under_a_second
from buildtest.home import Home, remove
from debianrootfs import rootfs_tar

MIRROR = os.environ.get("LAYERTOOL_TEST_MIRROR") == "1"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.needs("root", "overlay", "bwrap", "dpkg-deb"),
    # Real packages give files to groups of their own when they are installed, which needs ids.
    pytest.mark.parametrize(
        "home", [kind for kind in KINDS if not (MIRROR and kind == "single")], indirect=True
    ),
]

BASE = "FROM scratch\nADD rootfs.tar /\n"
OFFLINE = "COPY repo /repo\nRUN apt-get update\n"
# The one of the seed, word for word.
SEED = """FROM debian
RUN apt-get install -y emacs-nox
RUN apt-get install -y apache2
CMD ["bash"]
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root file system, and offline a repository; made by root, as debootstrap has to be."""
    work = tmp_path_factory.mktemp("seed")
    made = work / "context"
    made.mkdir()
    if MIRROR:
        shutil.copy(rootfs_tar(), made / "rootfs.tar")
    else:
        scratch = work / "scratch"
        scratch.mkdir()
        debian.make_rootfs(scratch, made / "rootfs.tar")
        sizes = {"emacs-nox": 3_000_000, "apache2": 2_000_000, "vim": 1_000_000}
        debian.make_repository(made, sizes)
    yield made
    subprocess.run(["rm", "-rf", "--one-file-system", str(work)], check=True, timeout=300)


@pytest.fixture(scope="module")
def debian_bench(home: Home, context: Path) -> Iterator[Bench]:
    """A store with the images `debian` and `seed`."""
    bench = home.bench()
    shutil.copytree(context, bench.context, dirs_exist_ok=True)
    update = "RUN apt-get update\n" if MIRROR else OFFLINE
    base = bench.build(BASE + update, "-t", "debian")
    assert base.status == 0, base.err[-3000:]
    seed = bench.build(SEED, "-t", "seed")
    assert seed.status == 0, seed.err[-3000:]
    yield bench
    assert bench.leftovers() == []
    remove(bench.room)


def history(bench: Bench, image: str) -> list[dict[str, object]]:
    done = bench.layertool("history", image, "--json")
    assert done.status == 0, done.err
    entries: list[dict[str, object]] = json.loads(done.out)
    return entries


def images(bench: Bench) -> dict[str, dict[str, Any]]:
    done = bench.layertool("images", "--json")
    assert done.status == 0, done.err
    return {entry["name"]: entry for entry in json.loads(done.out)}


def test_a_base_image_from_a_rootfs_tar(debian_bench: Bench) -> None:
    done = debian_bench.layertool("run", "--rm", "debian", "/usr/bin/dpkg", "--audit")
    assert (done.status, done.out) == (0, ""), done.err
    done = debian_bench.layertool("run", "--rm", "debian", "/bin/cat", "/etc/debian_version")
    assert done.out.startswith("12")


def test_packages_are_installed(debian_bench: Bench) -> None:
    packages = ["emacs-nox", "apache2"]
    done = debian_bench.layertool("run", "--rm", "seed", "dpkg-query", "-W", *packages)
    assert done.status == 0, done.err
    assert len(done.out.splitlines()) == 2


def test_history_has_a_layer_for_each_step(debian_bench: Bench) -> None:
    base, seed = history(debian_bench, "debian"), history(debian_bench, "seed")
    assert len(seed) == len(base) + 3
    steps = [str(entry["created_by"]) for entry in seed]
    ours = [step for step in steps if "emacs" in step or "apache2" in step]
    assert len(ours) == 2
    layers = [entry for entry in seed if not entry["empty_layer"]]
    assert len(layers) == len([entry for entry in base if not entry["empty_layer"]]) + 2


def test_three_images_share_the_base_and_sizes_add_up(debian_bench: Bench) -> None:
    stage = debian_bench.build("FROM debian\nRUN apt-get install -y emacs-nox\n", "-t", "half")
    assert stage.ran == []  # the seed's own first step
    diff_ids = {
        name: debian_bench.config(images(debian_bench)[name]["id"])["rootfs"]["diff_ids"]
        for name in ("debian", "half", "seed")
    }
    base = diff_ids["debian"]
    assert diff_ids["half"][: len(base)] == diff_ids["seed"][: len(base)] == base
    found = images(debian_bench)
    for name in ("debian", "half", "seed"):
        sizes = [int(str(entry["size"])) for entry in history(debian_bench, name)]
        assert found[name]["size"] == sum(sizes)
    assert found["debian"]["size"] < found["half"]["size"] < found["seed"]["size"]
    # What the three have on disk: each layer once.
    layers = list((debian_bench.root / "layers/sha256").iterdir())
    assert len(layers) == len(set().union(*diff_ids.values()))


def test_a_repeated_build_is_fast_and_the_same(debian_bench: Bench) -> None:
    with under_a_second():
        again = debian_bench.build(SEED)
    assert again.ran == []
    assert images(debian_bench)["seed"]["id"] == again.image


def test_build_and_commit_of_one_change_have_one_size(debian_bench: Bench) -> None:
    """The same package by RUN and by hand in a container."""
    install = "apt-get install -y vim" if not MIRROR else "apt-get install -y vim-tiny"
    clean = "rm -rf /var/log/apt /var/log/dpkg.log /var/cache/ldconfig /var/lib/apt/extended_states"
    command = f"{install} && {clean}"
    built = debian_bench.build(f"FROM debian\nRUN {command}\n", "-t", "built")
    assert built.status == 0, built.err[-3000:]
    ran = debian_bench.layertool("run", "--name", "by-hand", "debian", "/bin/sh", "-c", command)
    assert ran.status == 0, ran.err[-3000:]
    committed = debian_bench.layertool("commit", "by-hand", "committed")
    assert committed.status == 0, committed.err
    sizes = {name: content(debian_bench, name) for name in ("debian", "built", "committed")}
    assert sizes["built"] == sizes["committed"]
    assert sizes["built"] > sizes["debian"] + 500_000
    # On disk a directory may take a block more or less, by the order of its names.
    found = images(debian_bench)
    assert abs(found["built"]["size"] - found["committed"]["size"]) <= 16 * 4096


def content(bench: Bench, name: str) -> int:
    """Bytes of file content in an image's layers."""
    document = bench.config(images(bench)[name]["id"])
    metas = (
        bench.root / "layers/sha256" / diff_id.removeprefix("sha256:") / "meta"
        for diff_id in document["rootfs"]["diff_ids"]
    )
    return sum(int(meta.read_text().split()[1]) for meta in metas)
