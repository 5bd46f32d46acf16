"""Package managers on the mount: pip into a directory, dpkg and apt in a chroot. No network."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from debianrootfs import rootfs_tar
from fstest import layers
from fstest.twins import Twins

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root", "overlay")]


def run(words: list[str | Path]) -> str:
    done = subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C",
        },
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


# --- pip ---


def make_wheel(directory: Path, version: str) -> Path:
    """A wheel of forty modules, by the format's own rules (PEP 427)."""
    path = directory / f"sample-{version}-py3-none-any.whl"
    info = f"sample-{version}.dist-info"
    files = {f"sample/module_{number}.py": f"VALUE = {number!r}\n" for number in range(40)}
    files["sample/__init__.py"] = f"VERSION = {version!r}\n"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: sample\nVersion: {version}\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def pip_install(root: Path, package: Path) -> None:
    """--target installs beside and moves into place: directory renames over what was there."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    run([*pip, "--no-compile", "--no-cache-dir", "--upgrade", "--target", root / "site", package])


def test_pip_installs_and_upgrades(make_twins: Callable[..., Twins], tmp_path: Path) -> None:
    first, second = make_wheel(tmp_path, "1.0"), make_wheel(tmp_path, "2.0")
    lower = tmp_path / "layers" / "base"
    lower.mkdir(parents=True)
    pip_install(lower, first)
    twins = make_twins(lower)
    twins.do(lambda root: pip_install(root, second))
    program = "import sample; print(sample.VERSION)"
    imports = [sys.executable, "-B", "-c", f"import sys; sys.path.insert(0, 'site'); {program}"]
    done = subprocess.run(imports, cwd=twins.mounted, capture_output=True, text=True, timeout=60)
    assert done.stdout == "2.0\n", done.stderr
    twins.compare()


# --- dpkg and apt ---


def make_deb(directory: Path, version: str, *, docs: bool) -> Path:
    """A package with a configuration file, scripts, and a directory that comes or goes."""
    tree = directory / f"deb-{version}"
    table: dict[str, layers.Entry] = {
        "DEBIAN/control": f"Package: sample\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: Nobody <nobody@example.org>\nDescription: a sample\n",
        "DEBIAN/conffiles": "/etc/sample.conf\n",
        "DEBIAN/postinst": layers.File(
            "#!/bin/sh\nset -e\ndate +configured > /dev/null\n"
            f"echo {version} > /var/lib/sample-version\n",
            mode=0o755,
        ),
        "etc/sample.conf": "answer=42\n",
        "usr/bin/sample": layers.File(f"#!/bin/sh\necho sample {version}\n", mode=0o755),
        "usr/share/sample/data": "x" * 5000,
    }
    if docs:
        table["usr/share/sample/manual/1"] = "one\n"
    layers.build(tree, table)
    path = directory / f"sample_{version}_all.deb"
    run(["dpkg-deb", "--build", "--root-owner-group", tree, path])
    return path


def debian_layers(at: Path) -> list[Path]:
    """The Debian root file system, split over two layers."""
    base, var = at / "debian", at / "debian-var"
    base.mkdir(parents=True)
    run(
        [
            "tar",
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
            "-C",
            base,
            "-xf",
            rootfs_tar(),
        ]
    )
    var.mkdir()
    os.rename(base / "var", var / "var")
    return [var, base]


# dpkg and apt write down when they did what, and temporary names.
VARYING = (
    b"var/log",
    b"var/cache/apt/pkgcache.bin",
    b"var/cache/apt/srcpkgcache.bin",
    b"var/lib/apt/extended_states",
)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.needs("debootstrap", "dpkg-deb", "chroot")
def test_dpkg_and_apt_in_a_chroot(make_twins: Callable[..., Twins], tmp_path: Path) -> None:
    first = make_deb(tmp_path, "1.0", docs=True)
    second = make_deb(tmp_path, "2.0", docs=False)
    twins = make_twins(*debian_layers(tmp_path / "layers"))

    def work(root: Path) -> list[str]:
        said = []
        for package in (first, second):
            run(["cp", package, root / "tmp/"])
        run(["chroot", root, "dpkg", "--install", f"/tmp/{first.name}"])
        said.append(run(["chroot", root, "sample"]))
        run(
            [
                "chroot",
                root,
                "apt-get",
                "-qq",
                "-o",
                "Dpkg::Use-Pty=0",
                "install",
                "--yes",
                f"/tmp/{second.name}",
            ]
        )
        said.append(run(["chroot", root, "sample"]))
        said.append(run(["chroot", root, "dpkg", "--verify"]))
        # A package of the lower layers goes, with all its files.
        run(["chroot", root, "dpkg", "--purge", "--force-all", "tzdata"])
        run(["chroot", root, "dpkg", "--purge", "sample"])
        said.append(run(["chroot", root, "dpkg-query", "--list"]))
        said.append(run(["chroot", root, "adduser", "--system", "--quiet", "somebody"]))
        return said

    twins.do(work)
    twins.compare(exclude=lambda path: path.startswith(VARYING))
