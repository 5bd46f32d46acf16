"""Builds from end to end. Most tests check inside the image, with RUN steps that fail if wrong."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import pytest
from buildtest import BUSYBOX, KINDS, Bench, Result, under_a_second
from buildtest.home import Home
from buildtest.tables import COPIES, RUNS, check, furnish

# With one id everything belongs to it, as the kernel shows it: what asks for other owners inside
# the build, or becomes another user, needs ranges.
NEEDS_IDS = {
    "chown by name", "chown by number", "chown from an argument", "add with owner",
    "from a stage by name, owner kept", "user", "user and group", "workdir of a user",
    "cache attributes", "user does not own copies",
}  # fmt: skip
with_ids = pytest.mark.parametrize(
    "home", [kind for kind in KINDS if kind != "single"], indirect=True
)


def rows(table: Iterable[str]) -> list[tuple[str, str]]:
    """Every row for everyone who can do what it asks for."""
    return [
        (kind, name)
        for kind in KINDS
        for name in table
        if kind != "single" or name not in NEEDS_IDS
    ]


def test_hello_world_from_scratch(fresh: Bench) -> None:
    """The first Dockerfile of the seed: one static binary, run."""
    fresh.write("busybox", BUSYBOX.read_bytes(), 0o755)
    done = fresh.build(
        'FROM scratch\nCOPY busybox /\nCMD ["/busybox", "echo", "hello world"]\n', "-t", "hello"
    )
    assert done.image.startswith("sha256:")
    config = fresh.config(done.image)
    assert config["config"]["Cmd"] == ["/busybox", "echo", "hello world"]
    assert len(config["rootfs"]["diff_ids"]) == 1
    ran = fresh.layertool("run", "--rm", "hello")
    assert (ran.status, ran.out) == (0, "hello world\n")


@pytest.mark.parametrize(("home", "name"), rows(COPIES), indirect=["home"])
def test_copy_and_add(bench: Bench, name: str) -> None:
    furnish(bench)
    done = bench.build("FROM base\n" + COPIES[name])
    assert done.status == 0, done.err


@pytest.mark.parametrize(("home", "name"), rows(RUNS), indirect=["home"])
def test_run(bench: Bench, name: str) -> None:
    furnish(bench)
    done = bench.build("FROM base\n" + RUNS[name])
    assert done.status == 0, done.err


FAILURES = [
    ("FROM base\nCOPY nope /\n", r"Dockerfile:2: nope: no such file in the build context"),
    ("FROM base\nCOPY notes.md /\n", r"excluded from the build context by \.dockerignore:1 \(\*\.md\)"),
    ("FROM base\nCOPY --from=base /nope /\n", r"Dockerfile:2: nope: no such file in --from=base"),
    ("FROM base\nCOPY --chown=nobody9 a /\n", r"user nobody9"),
    ("FROM base\nCOPY --chmod=bad a /\n", r"--chmod: mode 'bad'"),
    ("FROM base\nCOPY s /etc/passwd\n", r"Dockerfile:2: /etc/passwd: exists and is not a directory"),
    ("FROM base\nUSER nobody9\nRUN true\n", r"user nobody9"),
    ("FROM base\nRUN [\"nope\"]\n", r"Dockerfile:2: nope: not found"),
    ("FROM scratch\nRUN true\n", r"/bin/sh: no such file in the image"),
    ("FROM base\nRUN --mount=source=nope,target=/m true\n", r"nope: no such file"),
    ("FROM base\nRUN --mount=type=secret,id=s,required true\n", r"secret s is required"),
    ("FROM base\nRUN --mount=target=/ true\n", r"cannot cover /"),
    ("FROM base\nRUN --mount=type=bind true\n", r"cannot cover /"),
    ("FROM base\nWORKDIR /w\nRUN --mount=target=../.. true\n", r"cannot cover /"),
    ("FROM base\nFROM $NOPE\n", r"Dockerfile:2: the image name is empty"),
    ("FROM base\nRUN --mount=type=ssh true\nRUN touch /ran\n", r"Dockerfile:2: .*ssh is not supported"),
]  # fmt: skip


@pytest.mark.parametrize(("dockerfile", "message"), FAILURES)
def test_failures_are_one_line_with_file_and_line(
    bench: Bench, dockerfile: str, message: str
) -> None:
    import re

    furnish(bench)
    done = bench.build(dockerfile)
    assert (done.status, done.out) == (1, "")
    last = done.err.splitlines()[-1]
    assert last.startswith("layertool: ")
    assert re.search(message, last), last


def test_a_failing_run(bench: Bench) -> None:
    done = bench.build("FROM base\nRUN for i in $(seq 30); do echo line $i; done; exit 42\n")
    assert done.status == 1
    lines = done.err.splitlines()
    assert lines[-1].startswith("layertool: Dockerfile:2: the command failed with exit status 42: ")
    assert lines[-21:-1] == [f"  | line {number}" for number in range(11, 31)]


def test_a_failed_step_is_run_again(bench: Bench) -> None:
    text = "FROM base\nRUN echo once > /f\nRUN exit 3\n"
    bench.build(text)
    again = bench.build(text)
    assert "0 2" in again.cached
    assert "0 3" in again.ran


def test_debug_shell(bench: Bench) -> None:
    done = bench.build(
        "FROM base\nENV E=there\nRUN touch /trace; exit 1\n",
        "--debug-shell",
        input="ls /trace; echo $E; exit\n",
    )
    assert done.status == 1
    assert "/trace\nthere" in done.out + done.err
    assert done.err.count(": failed") == 1


def test_nothing_changed_is_fast_and_the_same(bench: Bench) -> None:
    furnish(bench)
    text = "FROM base\nWORKDIR /w\nCOPY . .\nRUN echo x > y\n" + 'ENV A=1\nCMD ["sh"]\n'
    first = bench.build(text)
    with under_a_second():
        second = bench.build(text)
    assert first.image == second.image
    assert second.ran == []


def test_touching_files_changes_nothing(bench: Bench) -> None:
    furnish(bench)
    text = "FROM base\nCOPY . /all\n"
    first = bench.build(text)
    for path in bench.context.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1, 1))
    assert bench.build(text).image == first.image


def test_why_a_step_missed(bench: Bench) -> None:
    furnish(bench)
    bench.build("FROM base\n")
    text = "FROM base\nARG V=1\nCOPY a s /d/\nRUN echo $V\n"
    assert bench.build(text).why("0 2").startswith("not built before")

    bench.write("s/one", "changed")
    done = bench.build(text)
    assert done.why("0 3") == "one: content changed"
    assert done.why("0 4") == "step 3 was not cached either"

    (bench.context / "a").chmod(0o600)
    assert bench.build(text).why("0 3") == "a: mode changed from 644 to 600"
    bench.write("s/new")
    assert bench.build(text).why("0 3") == "new is new"
    (bench.context / "s/new").unlink()
    assert bench.build(text, "--build-arg", "V=2").why("0 4") == "ARG V changed from '1' to '2'"
    assert (
        bench.build(text.replace("echo $V", "echo $V!"))
        .why("0 4")
        .startswith("the instruction changed, it was: ")
    )
    assert bench.build(text, "--no-cache").why("0 3") == "--no-cache"


def test_a_new_base_is_named(bench: Bench) -> None:
    bench.build("FROM base\nENV N=1\n", "-t", "moving")
    text = "FROM moving\nRUN true\n"
    bench.build(text, "-f", "Dockerfile")
    bench.build("FROM base\nENV N=2\n", "-t", "moving")
    assert bench.build(text).why("0 1") == "base image moving changed"


def test_secrets_stay_out(bench: Bench) -> None:
    secret = bench.room / "file"
    secret.write_text("swordfish")
    done = bench.build(
        "FROM base\n"
        "RUN --mount=type=secret,id=f [ $(wc -c < /run/secrets/f) = 9 ]"
        ' && [ "$(stat -c %a /run/secrets/f)" = 400 ]\n'
        "RUN --mount=type=secret,id=e,env=TOKEN [ ${#TOKEN} = 5 ]\n"
        "RUN --mount=type=secret,id=e,target=/s grep -q ^t.*t$ /s\n"
        "RUN [ ! -e /s ] && [ ! -e /run/secrets ]\n",
        "--secret",
        f"id=f,src={secret}",
        "--secret",
        "id=e,env=FISH",
        "-t",
        "secrets",
    )  # fmt: skip
    assert done.status != 0  # FISH is not set yet
    bench.env["FISH"] = "trout"
    words = ["--secret", f"id=f,src={secret}", "--secret", "id=e,env=FISH"]
    again = bench.layertool("build", *words, ".")
    assert again.status == 0, again.err
    assert "trout" not in again.err + str(bench.config(again.image))
    found = subprocess.run(
        ["grep", "-rlE", "trout|swordfish", str(bench.root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.stdout == ""


def test_onbuild(bench: Bench) -> None:
    bench.write("app", "app")
    parent = bench.build("FROM base\nONBUILD COPY app /app\nONBUILD RUN cat /app\n", "-t", "parent")
    assert parent.status == 0, parent.err
    child = bench.build("FROM parent\nRUN [ -f /app ]\n")
    assert child.status == 0, child.err
    assert "OnBuild" not in bench.config(child.image)["config"]


def test_stages(bench: Bench) -> None:
    done = bench.build(
        "FROM base AS one\nRUN echo 1 > /n\n"
        "FROM base AS unused\nRUN false\n"
        "FROM base AS two\nRUN echo 2 > /n\n"
        "FROM base\nCOPY --from=one /n /one\nCOPY --from=two /n /two\n"
        'RUN [ "$(cat /one /two | tr -d "\\n")" = 12 ]\n'
    )
    assert done.status == 0, done.err
    assert "stage unused is not needed, skipped" in done.err


def test_stages_run_side_by_side(bench: Bench) -> None:
    """Each stage waits for the other's sign in a shared cache: alone, neither would end."""
    wait = "i=0; while [ ! -e /c/{other} ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done"
    mount = "RUN --mount=type=cache,id=meet,target=/c "
    done = bench.build(
        f"FROM base AS one\n{mount}touch /c/one; {wait.format(other='two')}; [ -e /c/two ]\n"
        f"FROM base AS two\n{mount}touch /c/two; {wait.format(other='one')}; [ -e /c/one ]\n"
        "FROM base\nCOPY --from=one /etc/passwd /1\nCOPY --from=two /etc/passwd /2\n",
        "--no-cache",
    )
    assert done.status == 0, done.err


def test_a_stage_rebuilt_to_the_same_files_keeps_what_copies_from_it(bench: Bench) -> None:
    text = "FROM base AS one\nRUN echo {} ; echo same > /n\nFROM base\nCOPY --from=one /n /n\n"
    bench.build(text.format("first"))
    done = bench.build(text.format("second"))
    assert "one 2" in done.ran
    assert "1 2" in done.cached


def test_link_survives_a_new_base(bench: Bench) -> None:
    furnish(bench)
    bench.build("FROM base\nRUN echo 1 > /v\nCOPY --link a /a\n")
    done = bench.build("FROM base\nRUN echo 2 > /v\nCOPY --link a /a\n")
    assert "0 3" in done.cached


def test_target_labels_and_names(bench: Bench) -> None:
    done = bench.build(
        "FROM base AS dev\nENV A=dev\nFROM base\nENV A=prod\n",
        "--target", "dev", "-t", "named:1", "-t", "named:2", "--label", "k=v",
    )  # fmt: skip
    config = bench.config(done.image)["config"]
    assert "A=dev" in config["Env"]
    assert config["Labels"] == {"k": "v"}
    for name in ("named:1", "named:2"):
        assert bench.build(f"FROM {name}\n").image


def test_platform(bench: Bench) -> None:
    text = "FROM scratch\nARG TARGETARCH\nARG TARGETVARIANT\nENV A=$TARGETARCH V=$TARGETVARIANT\n"
    done = bench.build(text, "--platform", "linux/arm/v7")
    document = bench.config(done.image)
    assert (document["architecture"], document["variant"]) == ("arm", "v7")
    assert document["config"]["Env"][-2:] == ["A=arm", "V=v7"]


def test_history_names_every_step(bench: Bench) -> None:
    furnish(bench)
    done = bench.build("FROM base\nARG V=1\nCOPY a /\nRUN echo $V\nUSER app\nCMD echo hi\n")
    document = bench.config(done.image)
    base = 4
    assert [entry["created_by"] for entry in document["history"][base:]] == [
        "ARG V=1",
        "COPY a /",
        "RUN |1 V=1 /bin/sh -c echo $V",
        "USER app",
        'CMD ["/bin/sh", "-c", "echo hi"]',
    ]
    layers = [entry for entry in document["history"] if not entry.get("empty_layer")]
    assert len(layers) == len(document["rootfs"]["diff_ids"])


def test_squash(bench: Bench) -> None:
    furnish(bench)
    text = "FROM base\nCOPY a /a\nRUN rm /a; echo x > /x\nRUN rm /etc/group\n"
    done = bench.build(text, "--squash", "-t", "squashed")
    plain = bench.config(bench.build("FROM base\n").image)
    document = bench.config(done.image)
    ours = document["rootfs"]["diff_ids"]
    assert ours[:-1] == plain["rootfs"]["diff_ids"]
    assert bench.build(text, "--squash").image == done.image
    inside = bench.build("FROM squashed\nRUN [ -f /x ] && [ ! -e /a ] && [ ! -e /etc/group ]\n")
    assert inside.status == 0, inside.err


def test_epoch_makes_builds_equal(home: Home) -> None:
    """Two stores, two contexts with other times: one image id."""
    ids = []
    for _ in range(2):
        bench = home.bench()
        shutil.copy(BUSYBOX, bench.context)
        bench.write("a", "a")
        done = bench.build(
            "FROM scratch\nCOPY busybox /bin/sh\nCOPY a /x/\nWORKDIR /w\nRUN echo 1 > f\n",
            "--source-date-epoch",
            "1700000000",
        )
        ids.append(done.image)
        assert bench.config(done.image)["created"] == "2023-11-14T22:13:20Z"
        time.sleep(1.1)
    assert ids[0] == ids[1]


def test_verify(bench: Bench) -> None:
    good = bench.build("FROM base\nRUN echo 1 > /f\n", "--verify")
    assert good.status == 0, good.err
    bad = bench.build("FROM base\nRUN head -c 8 /dev/urandom > /noise\n", "--verify")
    assert bad.status == 1
    assert "not reproducible: RUN /bin/sh -c head" in bad.err
    assert "/noise differs in" in bad.err.splitlines()[-1]


@with_ids
def test_doubling_a_file_is_warned_of(bench: Bench) -> None:
    done = bench.build("FROM base\nRUN chown -R app /bin/busybox\n", "--no-cache")
    warning = next(line for line in done.err.splitlines() if line.startswith("warning: "))
    assert "stored again: this step changed only the owner of 1 file (/bin/busybox)" in warning
    assert "--chown" in warning


def test_quiet_prints_only_the_id(bench: Bench) -> None:
    bench.write("Dockerfile", "FROM base\nRUN echo hi\n")
    done = bench.layertool("build", "--quiet", "--no-cache", ".")
    assert done.err == ""
    assert done.out == done.image + "\n"


@pytest.mark.parametrize(
    ("output", "flags", "source"),
    [
        ("out.tar", [], "docker-archive"),
        ("out.tar", ["--format", "oci-archive"], "oci-archive"),
        ("layout", [], "oci"),
    ],
)
@pytest.mark.needs("skopeo")
def test_output_to_an_archive(bench: Bench, output: str, flags: list[str], source: str) -> None:
    """skopeo reads what -o wrote, and sees the image that was built."""
    out = bench.room / output
    done = bench.build("FROM base\nENV A=1\n", "-t", "archived:1", "-o", str(out), *flags)
    assert done.status == 0, done.err
    seen = subprocess.run(
        ["skopeo", "inspect", "--config", "--raw", f"{source}:{out}"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert "sha256:" + hashlib.sha256(seen.stdout).hexdigest() == done.image


def test_an_archive_that_cannot_be_written(bench: Bench) -> None:
    """The image is there all the same, and the error says so."""
    done = bench.build("FROM base\n", "-o", str(bench.room / "none/out.tar"))
    assert (done.status, done.out) == (1, "")
    last = done.err.splitlines()[-1]
    assert "No such file or directory; the image is in the store as sha256:" in last
    wrong = bench.build("FROM base\n", "-o", f"type=oci,dest={bench.room}/out.tar")
    assert wrong.status == 2
    assert "--format" in wrong.err


def test_no_cache_for_one_stage(bench: Bench) -> None:
    text = "FROM base AS one\nRUN echo 1 > /n\nFROM base AS two\nCOPY --from=one /n /\nRUN true\n"
    bench.build(text)
    done = bench.build(text, "--no-cache-filter", "ONE")
    assert done.why("one 2") == "--no-cache-filter"
    assert done.ran == ["one 2"]  # which gave the same files
    assert bench.build(text, "--no-cache-filter", "one,1").ran == ["one 2", "two 2", "two 3"]
    unknown = bench.build(text, "--no-cache-filter", "three")
    assert "no stage three; its stages are one, two" in unknown.err


def test_check(bench: Bench) -> None:
    found = bench.build("FROM base\nMAINTAINER me\n", "--check")
    assert found.status == 1
    assert found.out.startswith("Dockerfile:2: MaintainerDeprecated: ")
    assert bench.build("FROM base\nRUN x\n", "--check").status == 0


def test_context_ls(bench: Bench) -> None:
    furnish(bench)
    listed = bench.layertool("context", "ls")
    assert "keep.md" in listed.out.splitlines()
    assert "notes.md" not in listed.out
    why = bench.layertool("context", "ls", "--why", bench.context)
    assert "- notes.md  (.dockerignore:1 *.md)" in why.out.splitlines()
    assert "+ keep.md  (.dockerignore:2 !keep.md)" in why.out.splitlines()


def test_the_dockerfile_may_be_ignored(bench: Bench) -> None:
    bench.write(".dockerignore", "*\n")
    assert bench.build("FROM base\n").status == 0


def test_dockerfile_on_stdin(bench: Bench) -> None:
    done = bench.layertool("build", "-f", "-", ".", input="FROM base\nRUN nope9\n")
    assert "<stdin>:2:" in done.err


def test_dockerfile_on_stdin_without_a_context(bench: Bench) -> None:
    bench.write("a", "not sent")
    text = "FROM base\nCOPY <<x /x\n1\nx\nRUN [ -f /x ]\n"
    done = bench.layertool("build", "--progress", "plain", "-", input=text)
    assert done.image.startswith("sha256:")
    missing = bench.layertool("build", "-", input="FROM base\nCOPY a /\n")
    assert "<stdin>:2: a: no such file in the build context" in missing.err
    changed = bench.layertool("build", "--progress", "plain", "-", input=text.replace("1", "2"))
    assert changed.why("0 2").startswith("x: content changed")
    found = bench.layertool("build", "--check", "-", input="FROM base\nMAINTAINER me\n")
    assert found.out.startswith("<stdin>:2: MaintainerDeprecated: ")


@pytest.mark.parametrize("name", ["Dockerfile", "-"])
def test_two_things_on_stdin(bench: Bench, name: str) -> None:
    done = bench.layertool("build", "-", "-f", name, input="FROM base\n")
    assert done.status == 2
    assert "is the only one" in done.err
    done = build_stdin(bench, context_tar({"Dockerfile": "FROM base\n"}), "-f", name)
    assert done.status == (0 if name == "Dockerfile" else 2)


def context_tar(
    files: Mapping[str, str | tarfile.TarInfo], mode: Literal["w", "w:gz", "w:xz"] = "w"
) -> bytes:
    """A tar of texts, and of entries that are no files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    return buffer.getvalue()


def build_stdin(bench: Bench, data: bytes, *flags: str) -> Result:
    path = bench.room / "stdin"
    path.write_bytes(data)
    with path.open("rb") as stream:
        return bench.layertool("build", "--progress", "plain", *flags, "-", stdin=stream)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_context_on_stdin(bench: Bench, mode: Literal["w", "w:gz", "w:xz"]) -> None:
    dockerfile = "FROM base\nCOPY . /all\nRUN [ -f /all/a ] && [ ! -e /all/b.md ]\n"
    files = {"a": mode, "b.md": "b", ".dockerignore": "*.md", "Dockerfile": dockerfile}
    before = set(Path("/tmp").glob("layertool-context-*"))
    done = build_stdin(bench, context_tar(files, mode))
    assert done.status == 0, done.err
    assert build_stdin(bench, context_tar(files, mode)).ran == []
    changed = build_stdin(bench, context_tar({**files, "a": f"not {mode}"}, mode))
    assert changed.why("0 2") == "a: content changed"
    other = build_stdin(bench, context_tar({"sub/D": "FROM base\nRUN false\n"}), "-f", "sub/D")
    assert "sub/D:2: the command failed" in other.err
    assert set(Path("/tmp").glob("layertool-context-*")) <= before


def test_hostile_contexts_on_stdin(bench: Bench) -> None:
    """Nothing is read or written outside, and nothing stays."""
    link = tarfile.TarInfo("Dockerfile")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    done = build_stdin(bench, context_tar({"Dockerfile": link}))
    assert "leads out of the build context" in done.err.splitlines()[-1]
    assert "root:" not in done.err
    outside = bench.room / "outside"
    text = context_tar({f"../../../../../../..{outside}": "x", "Dockerfile": "FROM base\n"})
    assert build_stdin(bench, text).status in (0, 1)
    assert not outside.exists()
    cut = build_stdin(bench, context_tar({"Dockerfile": "FROM base\n" * 1000}, "w:gz")[:-60])
    assert (cut.status, cut.out) == (1, "")
    assert cut.err.splitlines()[-1].startswith("layertool: <stdin>: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing_half_made(bench: Bench, number: signal.Signals) -> None:
    bench.write("Dockerfile", f"FROM base\nRUN echo {number} > /first\nRUN sleep 600\n")
    words = bench.words("build", "--progress", "plain", ".")
    with subprocess.Popen(
        words, cwd=bench.context, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[0 3/3]"):
                break
        time.sleep(0.3)
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(timeout=30) == 130
    assert rest.splitlines()[-1].startswith("layertool: interrupted; ")
    assert bench.leftovers() == []
    again = bench.build(f"FROM base\nRUN echo {number} > /first\nRUN true\n")
    assert "0 2" in again.cached


def test_killed_builds_can_be_repeated(bench: Bench) -> None:
    text = "FROM base\nRUN i=0; while [ $i -lt 200 ]; do echo $i > /f$i; i=$((i+1)); done\n"
    bench.write("Dockerfile", text)
    words = bench.words("build", "--no-cache", ".")
    for delay in (0.2, 0.35, 0.5, 0.7):
        process = subprocess.Popen(words, cwd=bench.context, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.kill()
        process.wait(timeout=30)
    assert bench.build(text).status == 0
    assert bench.layertool("fsck").status == 0
    assert bench.layertool("gc").status == 0


def test_many_builds_at_once(bench: Bench) -> None:
    """The same and different steps from several processes: all succeed, each result is whole."""
    furnish(bench)
    shared = "FROM base\nCOPY . /all\nRUN echo shared > /s\n"
    running = []
    for number in range(4):
        (bench.context / f"D{number}").write_text(f"{shared}RUN echo {number} > /n\n")
        words = bench.words("build", "-f", f"D{number}", ".")
        running.append(
            subprocess.Popen(
                words, cwd=bench.context, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert len(bench.config(out.strip())["rootfs"]["diff_ids"]) == 6


@pytest.mark.needs("root", "overlay", "bwrap")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """A store on a small tmpfs: the step fails, nothing is stored, and there is room again."""
    context, disk = tmp_path / "context", tmp_path / "disk"
    context.mkdir()
    disk.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True, timeout=30
    )
    try:
        bench = Bench(disk / "store", context)
        bench.make_base()
        done = bench.build("FROM base\nRUN dd if=/dev/zero of=/big bs=1M count=60\n")
        assert done.status == 1
        assert "No space left" in done.err
        bench.write("big", b"x" * 40_000_000)
        copied = bench.build("FROM base\nCOPY big /\n")
        assert copied.status == 1
        assert "No space left" in copied.err.splitlines()[-1]
        (context / "big").unlink()
        assert bench.build("FROM base\nRUN echo small > /f\n").status == 0
        assert bench.layertool("fsck").status == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True, timeout=30)


def test_fuse_driver(bench: Bench) -> None:
    furnish(bench)
    done = bench.build(
        "FROM base\nCOPY a /d/\nRUN rm /etc/group && mkdir /n && echo x > /n/y\n"
        + check('[ "$(cat /d/a)$(cat /n/y)" = ax ] && [ ! -e /etc/group ]'),
        "--driver",
        "fuse",
        "--no-cache",
    )
    assert done.status == 0, done.err
