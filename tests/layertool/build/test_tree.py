"""Trees, selections, hashes and the context, on a disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from layertool.build import filehash
from layertool.build.context import list_context, open_source
from layertool.build.filehash import FileHashes
from layertool.build.ignore import Ignore
from layertool.build.modes import parse_chmod
from layertool.build.selection import select
from layertool.build.tree import Entry, Tree
from layertool.errors import LayertoolError, NotFound, Unsupported


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context with a bit of everything, and a canary outside."""
    root = tmp_path / "context"
    for name in ("a.txt", "b.md", "src/main.c", "src/x/deep.c", "src/x/y/z.md", "docs/r.md"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "link").symlink_to("src/main.c")
    (root / "dirlink").symlink_to("src")
    (root / "abs").symlink_to("/a.txt")
    (root / "out").symlink_to("../../../../../../../etc/passwd")
    (root / "loop").symlink_to("loop")
    (root / "empty").mkdir()
    (tmp_path / "secret").write_text("outside")
    return root


def tree(context: Path, rules: str = "") -> Tree:
    return Tree(context, "the build context", ignore=Ignore.parse(rules.encode(), ".dockerignore"))


def targets(context: Path, *sources: str, rules: str = "", **options: object) -> list[str]:
    with tree(context, rules) as opened:
        found = select(opened, sources, "/d/", **options)  # type: ignore[arg-type]
        return sorted(
            item.target or (f"<{item.name}>" if item.named else ".") for item in found.items
        )


ALL_SRC = [".", "main.c", "x", "x/deep.c", "x/y", "x/y/z.md"]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["a.txt"], ["<a.txt>"]),
        (["/a.txt"], ["<a.txt>"]),
        (["./src/../a.txt"], ["<a.txt>"]),
        (["../../a.txt"], ["<a.txt>"]),
        (["src"], ALL_SRC),
        (["src/"], ALL_SRC),
        (["dirlink"], ALL_SRC),
        (["link"], ["<link>"]),
        (["abs"], ["<abs>"]),
        (["*.txt", "*.md"], ["<a.txt>", "<b.md>"]),
        (["src/*/*.c"], ["<deep.c>"]),
        (["dirlink/*.c"], ["<main.c>"]),
        (["[ab].*"], ["<a.txt>", "<b.md>"]),
        (["*.nope"], []),
        (["empty"], ["."]),
        (["src/x/*"], [".", "<deep.c>", "z.md"]),
    ],
)
def test_sources(context: Path, sources: list[str], expected: list[str]) -> None:
    assert targets(context, *sources) == expected


@pytest.mark.parametrize("source", ["nope", "a.txt/x", "out", "loop", "src/nope/*/x.c/.."])
def test_missing_sources(context: Path, source: str) -> None:
    if "*" in source:
        assert targets(context, source) == []
        return
    with pytest.raises(NotFound, match="the build context"):
        targets(context, source)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["src/x/deep.c"], ["src", "src/x", "src/x/deep.c"]),
        (["src/./x/deep.c"], ["x", "x/deep.c"]),
        (["src/x"], ["src", "src/x", "src/x/deep.c", "src/x/y", "src/x/y/z.md"]),
        (["src/**/*.md"], ["src", "src/x", "src/x/y", "src/x/y/z.md"]),
        (["**/*.md"], ["b.md", "docs", "docs/r.md", "src", "src/x", "src/x/y", "src/x/y/z.md"]),
        (["./src/*.c", "./docs"], ["docs", "docs/r.md", "src", "src/main.c"]),
    ],
)
def test_parents(context: Path, sources: list[str], expected: list[str]) -> None:
    assert targets(context, *sources, parents=True) == expected


@pytest.mark.parametrize(
    ("sources", "exclude", "expected"),
    [
        (["src"], ["*.c"], [".", "x", "x/deep.c", "x/y", "x/y/z.md"]),
        (["src"], ["**/*.c"], [".", "x", "x/y", "x/y/z.md"]),
        (["src"], ["x"], [".", "main.c"]),
        (["src"], ["x", "!x/y"], [".", "main.c", "x/y", "x/y/z.md"]),
        (["*.txt", "*.md"], ["*.md"], ["<a.txt>"]),
    ],
)
def test_exclude(
    context: Path, sources: list[str], exclude: list[str], expected: list[str]
) -> None:
    assert targets(context, *sources, exclude=exclude) == expected


@pytest.mark.parametrize(
    ("rules", "source", "expected"),
    [
        ("*.md", ".", None),
        ("src/x", "src", [".", "main.c"]),
        ("src\n!src/x/deep.c", "src", [".", "x", "x/deep.c"]),
        ("src\n!src/x/deep.c", "src/x", [".", "deep.c"]),
    ],
)
def test_ignored_files_do_not_exist(
    context: Path, rules: str, source: str, expected: list[str] | None
) -> None:
    found = targets(context, source, rules=rules)
    if expected is None:
        assert "b.md" not in found
        assert "docs/r.md" in found
    else:
        assert found == expected


@pytest.mark.parametrize("source", ["b.md", "src", "link"])
def test_copying_an_ignored_file_names_the_rule(context: Path, source: str) -> None:
    with pytest.raises(NotFound, match=r"excluded from the build context by \.dockerignore:[12]"):
        targets(context, source, rules="*.md\nsrc")


def test_hashes_follow_content_not_times(context: Path, tmp_path: Path) -> None:
    old = time.time() - 100
    file = context / "a.txt"
    os.utime(file, (old, old))
    with FileHashes(tmp_path / "h" / "hashes.db") as hashes:

        def digest() -> str:
            with tree(context) as opened:
                return hashes.of(opened, opened.find("a.txt"))

        first = digest()
        os.utime(file, (old - 50, old - 50))
        assert digest() == first
        file.write_text("b.txt")  # same size, and the same mtime below
        os.utime(file, (old - 50, old - 50))
        assert digest() != first


def test_hashes_are_remembered(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filehash, "_SETTLED_NS", 0)
    with FileHashes(tmp_path / "hashes.db") as hashes, tree(context) as opened:
        first = hashes.of(opened, opened.find("a.txt"))
    monkeypatch.setattr(filehash, "_hash", lambda *_: pytest.fail("hashed again"))
    with FileHashes(tmp_path / "hashes.db") as hashes, tree(context) as opened:
        assert hashes.of(opened, opened.find("a.txt")) == first


def test_what_was_just_written_is_not_remembered(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal metadata, stale content: BuildKit #4817."""
    calls: list[str] = []
    real = filehash._hash

    def counting(opened: Tree, entry: Entry) -> tuple[str, os.stat_result]:
        calls.append(entry.path)
        return real(opened, entry)

    monkeypatch.setattr(filehash, "_hash", counting)
    with FileHashes(tmp_path / "hashes.db") as hashes, tree(context) as opened:
        for _ in range(2):
            hashes.of(opened, opened.find("a.txt"))
    assert calls == ["a.txt", "a.txt"]


def test_a_damaged_hash_file_is_replaced(context: Path, tmp_path: Path) -> None:
    (tmp_path / "hashes.db").write_bytes(b"not sqlite" * 1000)
    with FileHashes(tmp_path / "hashes.db") as hashes, tree(context) as opened:
        assert len(hashes.of(opened, opened.find("a.txt"))) == 64


def fingerprints(
    context: Path, tmp_path: Path, *sources: str, chmod: str | None = None
) -> dict[str, str]:
    with FileHashes(tmp_path / "hashes.db") as hashes, tree(context) as opened:
        change = None if chmod is None else parse_chmod(chmod)
        return dict(select(opened, sources, "/d/").inputs(hashes, change))


def test_fingerprints(context: Path, tmp_path: Path) -> None:
    (context / "a.txt").chmod(0o600)
    before = fingerprints(context, tmp_path, "a.txt", "src")
    assert before["a.txt"].startswith("file 600 5 ")
    (context / "a.txt").chmod(0o640)
    assert fingerprints(context, tmp_path, "a.txt", "src")["a.txt"].startswith("file 640 5 ")
    # --chmod decides the mode, so the host's does not matter (buildx #1311).
    one = fingerprints(context, tmp_path, "a.txt", chmod="755")
    (context / "a.txt").chmod(0o600)
    assert fingerprints(context, tmp_path, "a.txt", chmod="755") == one


def test_a_rename_changes_the_fingerprints(context: Path, tmp_path: Path) -> None:
    """BuildKit #2008: a wildcard that matches a renamed file."""
    before = fingerprints(context, tmp_path, "*.txt")
    (context / "a.txt").rename(context / "c.txt")
    assert fingerprints(context, tmp_path, "*.txt") != before


def test_a_fifo_does_not_block(context: Path, tmp_path: Path) -> None:
    os.mkfifo(context / "pipe")
    assert fingerprints(context, tmp_path, "pipe")["pipe"].startswith("special")


@pytest.mark.needs("root")
def test_ids_of_the_context_do_not_count(context: Path, tmp_path: Path) -> None:
    before = fingerprints(context, tmp_path, "a.txt")
    os.chown(context / "a.txt", 1234, 1234)
    assert fingerprints(context, tmp_path, "a.txt") == before


def test_find_dockerfile_and_ignore_file(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="no such Dockerfile; name it with -f"):
        open_source("context")
    (context / "Containerfile").write_text("FROM c")
    assert open_source("context").dockerfile == b"FROM c"
    (context / "Dockerfile").write_text("FROM d")
    assert open_source("context").name == "context/Dockerfile"
    assert open_source("context").ignore.rules == ()
    (context / ".containerignore").write_text("c")
    assert open_source("context").ignore.file == ".containerignore"
    (context / ".dockerignore").write_text("d")
    assert open_source("context").ignore.file == ".dockerignore"
    (tmp_path / "other").write_text("FROM o")
    assert open_source("context", "other").dockerfile == b"FROM o"
    assert open_source("context", "other").ignore.file == ".dockerignore"
    (tmp_path / "other.dockerignore").write_text("x")
    assert open_source("context", "other").ignore.file == "other.dockerignore"
    (context / "in").write_text("FROM i")
    assert open_source("context", "in").dockerfile == b"FROM i"


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
def test_links_that_lead_out_of_the_context(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Lines of the file would show in errors, and a context may be somebody else's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("secret")
    (context / "Dockerfile").write_text("FROM d")
    (context / "inside").write_text("x")
    (context / name).unlink(missing_ok=True)
    (context / name).symlink_to("inside")
    assert open_source("context")
    for target in (tmp_path / "secret", Path("../secret")):
        (context / name).unlink()
        (context / name).symlink_to(target)
        with pytest.raises(LayertoolError, match=f"{name}: a link that leads out of the build"):
            open_source("context")
    # What is named outside the context is the caller's own choice.
    (tmp_path / "link").symlink_to("secret")
    (context / ".dockerignore").unlink(missing_ok=True)
    assert open_source("context", "link").dockerfile == b"secret"


@pytest.mark.parametrize("given", ["https://github.com/x/y.git", "git@github.com:x/y"])
def test_other_contexts_are_refused_by_name(given: str) -> None:
    with pytest.raises(Unsupported, match="directory"):
        open_source(given)


def test_a_context_that_is_no_directory(context: Path) -> None:
    with pytest.raises(LayertoolError, match="not a directory"):
        open_source(str(context / "a.txt"))


def test_list_context(context: Path) -> None:
    with tree(context, "*\n!src\nsrc/x/y\n!a.txt") as opened:
        listed = {item.path: item for item in list_context(opened)}
    assert listed["src/main.c"].sent
    assert listed["src/main.c"].rule == ".dockerignore:2 !src"
    assert not listed["b.md"].sent
    assert listed["b.md"].rule == ".dockerignore:1 *"
    assert listed["docs/"].closed
    assert listed["src/x/y/"].rule == ".dockerignore:3 src/x/y"
    assert listed["a.txt"].size == 5
