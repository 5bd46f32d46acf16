"""A small Debian to build on, made offline: this machine's own essential packages and apt.

The tests are about images, not about a mirror: a root file system cut out of the running Debian
and a repository of three packages made here give the same steps without a network.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

_TIMEOUT = 300  # seconds
_STATUS = Path("/var/lib/dpkg/status")
_INFO = Path("/var/lib/dpkg/info")
# What maintainer scripts made, which no package lists.
_MADE = ("/etc/ld.so.cache", "/etc/alternatives", "/var/lib/dpkg/alternatives")
_EMPTY = ("dev", "proc", "sys", "tmp", "run", "root", "var/lib/apt/lists/partial",
          "var/cache/apt/archives/partial", "var/log/apt", "var/lib/dpkg/updates",
          "var/lib/dpkg/triggers", "var/lib/dpkg/parts", "etc/apt/preferences.d")  # fmt: skip
_APT = 'APT::Sandbox::User "root";\nAcquire::Languages "none";\n'


def make_rootfs(work: Path, out: Path) -> Path:
    """A tar of a Debian with apt and dpkg. Needs a Debian machine, root and 500 MB of `work`."""
    paragraphs = _read_status()
    packages = _closure(paragraphs)
    names = work / "names"
    names.write_text("".join(f"{name}\n" for name in sorted(_files(packages))))
    _run("tar", "--create", "--no-recursion", "--file", out, "-C", "/", "--files-from", names)
    extra = work / "extra"
    _write_extra(extra, packages, paragraphs)
    _run("tar", "--append", "--file", out, "--owner=0", "--group=0", "-C", extra, ".")
    return out


def _run(*words: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=_TIMEOUT, check=False
    )
    assert done.returncode == 0, f"{words[0]}: {done.stderr}"
    return done.stdout


def _read_status() -> dict[str, dict[str, str]]:
    """The installed packages: name -> its fields, with the paragraph itself under ''."""
    found: dict[str, dict[str, str]] = {}
    for text in _STATUS.read_text().split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", text, re.MULTILINE))
        if "install ok installed" in fields.get("Status", ""):
            found[fields["Package"]] = {"": text, **fields}
    return found


def _closure(paragraphs: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Essential packages, apt, and all that they depend on, as installed here."""
    provided: dict[str, str] = {}
    for name, fields in paragraphs.items():
        for virtual in _names(fields.get("Provides", "")):
            provided.setdefault(virtual[0], name)
    todo = [name for name, fields in paragraphs.items() if fields.get("Essential") == "yes"]
    todo += ["apt", "debian-archive-keyring"]
    wanted: set[str] = set()
    while todo:
        name = todo.pop()
        if name in wanted or name not in paragraphs:
            continue
        wanted.add(name)
        fields = paragraphs[name]
        for alternatives in _names(fields.get("Depends", "") + "," + fields.get("Pre-Depends", "")):
            installed = [provided.get(one, one) for one in alternatives]
            todo += [one for one in installed if one in paragraphs][:1]
    return sorted(wanted)


def _names(field: str) -> list[list[str]]:
    """`a (>= 1) | b, c:any` as [[a, b], [c]]."""
    groups = []
    for group in field.split(","):
        names = [re.split(r"[\s(:]", one.strip())[0] for one in group.split("|")]
        if names[0]:
            groups.append(names)
    return groups


def _files(packages: list[str]) -> Iterator[str]:
    listed: set[str] = set()
    for package in packages:
        listed.update(_run("dpkg", "-L", package).splitlines())
    for top in _MADE:
        path = Path(top)
        listed.add(top)
        listed.update(str(child) for child in path.glob("*") if path.is_dir())
    skip = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/info/")
    listed.update(("/bin", "/sbin", "/lib", "/lib64"))
    real: set[str] = set()
    for name in listed:
        path = Path(name)
        exists = path.exists() or path.is_symlink()
        if exists and name.startswith("/") and name != "/." and not name.startswith(skip):
            # dpkg still says /bin/sh where /bin is a link: one name for one file.
            real.add(str(path.parent.resolve() / path.name).lstrip("/"))
    return iter(real)


def _write_extra(
    extra: Path, packages: list[str], paragraphs: Mapping[str, Mapping[str, str]]
) -> None:
    for name in _EMPTY:
        (extra / name).mkdir(parents=True, exist_ok=True)
    (extra / "tmp").chmod(0o1777)
    dpkg = extra / "var/lib/dpkg"
    (dpkg / "info").mkdir()
    (dpkg / "status").write_text("\n\n".join(paragraphs[name][""] for name in packages) + "\n\n")
    (dpkg / "available").touch()
    for package in packages:
        for path in (*_INFO.glob(f"{package}.*"), *_INFO.glob(f"{package}:*")):
            _run("cp", "-p", path, dpkg / "info")
    (dpkg / "info/format").write_text("1\n")
    etc = extra / "etc"
    masters = Path("/usr/share/base-passwd")
    (etc / "passwd").write_text((masters / "passwd.master").read_text())
    (etc / "group").write_text((masters / "group.master").read_text())
    (etc / "apt/apt.conf.d").mkdir(parents=True)
    (etc / "apt/apt.conf.d/90-tests").write_text(_APT)
    (etc / "apt/sources.list").write_text("deb [trusted=yes] file:/repo ./\n")


def make_repository(work: Path, packages: Mapping[str, int]) -> Path:
    """A flat apt repository; `packages` gives each package the bytes of its one file."""
    repository = work / "repo"
    repository.mkdir(parents=True)
    index = []
    for name, size in packages.items():
        control = _control(name)
        deb = _make_package(work / name, name, size, control, repository)
        content = deb.read_bytes()
        index.append(
            f"{control}Filename: ./{deb.name}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    (repository / "Packages").write_text("\n".join(index))
    return repository


def _control(name: str) -> str:
    return (
        f"Package: {name}\nVersion: 1.0\nArchitecture: all\n"
        f"Maintainer: Tests <tests@example.com>\nDescription: stand-in for {name}\n"
    )


def _make_package(tree: Path, name: str, size: int, control: str, into: Path) -> Path:
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(control)
    program = tree / "usr/bin" / name
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho this is {name}\n")
    program.chmod(0o755)
    data = tree / "usr/share" / name / "data"
    data.parent.mkdir(parents=True)
    block = hashlib.sha256(name.encode()).hexdigest().encode()
    data.write_bytes((block * (size // len(block) + 1))[:size])
    deb = into / f"{name}_1.0_all.deb"
    _run("dpkg-deb", "--root-owner-group", "--build", tree, deb)
    return deb
