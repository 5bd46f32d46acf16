"""The life of containers, through the program, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sandboxtest import BUSYBOX, account, busybox_root, require
from sandboxtest.images import docker_archive
from sandboxtest.program import Program, program
from storetest import du

from layertool.sandbox.running import start_time

CONFIG = {
    "Env": ["PATH=/bin", "FROM_IMAGE=yes"],
    "Cmd": ["/bin/sh", "-c", "echo default $FROM_IMAGE; pwd"],
    "WorkingDir": "/data",
    "Labels": {"made": "here"},
}
SECONDS = 30


@pytest.fixture(params=["root", "single", "ranges"])
def layertool(request: pytest.FixtureRequest, room: Path) -> Iterator[Program]:
    """A program whose store holds the image `box`: busybox and a few files."""
    require(BUSYBOX)
    who = account(request.param)
    if not who.is_root:
        require("userns")
    archive = docker_archive(room / "box.tar", "box", [busybox_root(room / "base")], CONFIG)
    made = program(who, room)
    made.ok("import", archive)
    yield made
    made.clean()


def listed(layertool: Program, name: str) -> dict[str, Any]:
    """What `ps` says of one container."""
    (found,) = [each for each in layertool.json("ps", "-a", "--json") if each["name"] == name]
    assert isinstance(found, dict)
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_images_config_is_honoured(layertool: Program) -> None:
    assert layertool.ok("run", "--rm", "box") == "default yes\n/data\n"
    assert layertool.ok("run", "--rm", "box", "/bin/echo", "other") == "other\n"


@pytest.mark.parametrize(
    ("options", "command", "output"),
    [
        (["-e", "A=b c", "-e", "FROM_IMAGE"], ["sh", "-c", "echo $A,$FROM_IMAGE"], "b c,\n"),
        (["-w", "/srv/new"], ["sh", "-c", "pwd"], "/srv/new\n"),
        (["--hostname", "named"], ["hostname"], "named\n"),
        (["-h", "named"], ["cat", "/etc/hostname"], "named\n"),
        (["--entrypoint", "/bin/echo"], ["-n", "x"], "x"),
        (["--network", "none"], ["sh", "-c", "ifconfig -a | grep -c Link"], "1\n"),
        (["--driver", "kernel"], ["cat", "file"], "from the image\n"),
        pytest.param(
            ["--driver", "fuse"], ["cat", "file"], "from the image\n", marks=pytest.mark.mounted
        ),
        ([], ["echo", "--rm", "-it", "--name", "x"], "--rm -it --name x\n"),
        (["--read-only"], ["sh", "-c", "touch x 2>/dev/null || echo no"], "no\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options(layertool: Program, options: list[str], command: list[str], output: str) -> None:
    assert layertool.ok("run", "--rm", *options, "box", *command) == output
    assert layertool.json("ps", "-a", "--json") == []


def test_files_of_the_host(layertool: Program) -> None:
    env = layertool.room / "env"
    env.write_text("# comment\nONE=1\n")
    shared = layertool.room / "shared"
    shared.mkdir()
    os.chown(shared, layertool.account.uid, layertool.account.gid)
    script = "echo $ONE; touch /in/made; ls -d /in/made"
    done = layertool.ok(
        "run", "--rm", "--env-file", env, "-v", f"{shared}:/in", "box", "sh", "-c", script
    )
    assert done == "1\n/in/made\n"
    assert (shared / "made").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["box", "sh", "-c", "exit 3"], 3, ""),
        (["box", "sh", "-c", "kill -9 $$"], 137, ""),
        (["box", "no-such-program"], 127, "no-such-program"),
        (["box", "/etc/passwd"], 126, "/etc/passwd"),
        (["no-such-image"], 125, "no-such-image"),
        (["-u", "stranger", "box"], 125, "stranger"),
        (["-v", "/no/such:/x", "box"], 125, "/no/such"),
        (["--network", "bridge", "box"], 125, "bridge"),
        (["--driver", "aufs", "box"], 125, "aufs"),
        (["--entrypoint", "", "box"], 125, "no command"),
    ],
)
def test_exit_status(layertool: Program, arguments: list[str], status: int, message: str) -> None:
    done = layertool("run", "--rm", *arguments)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") <= 1
    assert layertool.json("ps", "-a", "--json") == []


@pytest.mark.needs("root")
def test_a_full_disk(layertool: Program) -> None:
    disk = layertool.room / "disk"
    disk.mkdir()
    owner = f"uid={layertool.account.uid},gid={layertool.account.gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=8m,{owner}", "disk", disk], check=True)
    try:
        small = replace(layertool, environment={"LAYERTOOL_ROOT": str(disk / "store")})
        small.ok("import", layertool.room / "box.tar")
        fill = "cat /dev/zero > /fill; exit 3"
        assert small("run", "--name", "full", "box", "sh", "-c", fill).returncode == 3
        for options in ([], ["-d"]):
            done = small("run", "--rm", *options, "box", "true")
            assert done.returncode == 125
            assert done.stderr.startswith("layertool: ")
            assert done.stderr.endswith("No space left on device\n")
            assert done.stderr.count("\n") == 1
        assert small.ok("rm", "full") == "full\n"
        assert small("run", "--rm", "box", "true").returncode == 0
        assert small.json("ps", "-a", "--json") == []
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_names(layertool: Program) -> None:
    layertool.ok("run", "--name", "one", "--label", "a=b", "box")
    seen = listed(layertool, "one")
    assert (seen["state"], seen["exit_code"], seen["image"]) == ("exited", 0, "box")
    assert seen["labels"] == {"made": "here", "a": "b"}
    assert layertool.ok("ps").count("\n") == 1
    assert "one" in layertool.ok("ps", "-a")
    taken = layertool("run", "--name", "one", "box")
    assert taken.returncode == 125
    assert "one" in taken.stderr
    assert layertool.ok("rm", seen["id"][:12]) == seen["id"][:12] + "\n"
    missing = layertool("rm", "one")
    assert missing.returncode == 1
    assert "one" in missing.stderr


def test_inspect_has_dockers_keys(layertool: Program) -> None:
    layertool("run", "--name", "web", "-e", "A=b", "box", "sh", "-c", "exit 3")
    template = "{{.State.Status}} {{.State.ExitCode}} {{.Config.Cmd}} {{.Config.WorkingDir}}"
    assert layertool.ok("inspect", "-f", template, "web") == "exited 3 [sh -c exit 3] /data\n"
    (seen,) = layertool.json("inspect", "web")
    assert "A=b" in seen["Config"]["Env"]
    assert seen["Config"]["Labels"] == {"made": "here"}
    assert seen["Name"] == "web"
    assert seen["State"]["StartedAt"] < seen["State"]["FinishedAt"]


def test_detached(layertool: Program) -> None:
    script = "echo out; echo error >&2; trap 'echo bye; exit 4' TERM; while :; do sleep 0.05; done"
    identity = layertool.ok("run", "-d", "--name", "web", "box", "sh", "-c", script).strip()
    seen = listed(layertool, "web")
    assert (seen["id"], seen["state"]) == (identity, "running")
    assert os.path.exists(f"/proc/{seen['pid']}")
    assert layertool.ok("ps", "-q").strip() == identity[:12]
    wait_until(lambda: "error" in layertool("logs", "web").stderr)
    assert layertool.ok("logs", "web") == "out\n"

    assert layertool.ok("exec", "web", "sh", "-c", "echo $FROM_IMAGE; pwd") == "yes\n/data\n"
    assert layertool("exec", "-e", "A=7", "web", "sh", "-c", "exit $A").returncode == 7
    assert layertool("exec", "web", "nothing").returncode == 127

    refused = layertool("rm", "web")
    assert refused.returncode == 1
    assert "running" in refused.stderr

    assert layertool.ok("stop", "web") == "web\n"
    seen = listed(layertool, "web")
    assert (seen["state"], seen["exit_code"], seen["pid"]) == ("exited", 4, None)
    assert layertool.ok("logs", "web") == "out\nbye\n"
    assert layertool.ok("wait", "web") == "4\n"
    assert layertool("exec", "web", "true").returncode == 125
    layertool.ok("rm", "web")


def test_detached_and_removed_at_its_end(layertool: Program) -> None:
    layertool.ok("run", "-d", "--rm", "--name", "short", "box", "true")
    wait_until(lambda: layertool.json("ps", "-a", "--json") == [])


def test_detached_that_cannot_start(layertool: Program) -> None:
    done = layertool("run", "-d", "--rm", "box", "nothing")
    assert (done.returncode, done.stdout) == (127, "")
    assert layertool.json("ps", "-a", "--json") == []


def test_stubborn_containers_are_killed(layertool: Program) -> None:
    layertool.ok("run", "-d", "--name", "deaf", "box", "sh", "-c", "trap '' TERM; sleep 1000")
    layertool.ok("stop", "-t", "0.2", "deaf")
    assert listed(layertool, "deaf")["exit_code"] == 137
    layertool.ok("run", "-d", "--name", "other", "box", "sleep", "1000")
    layertool.ok("rm", "-f", "other")
    layertool.ok("run", "-d", "--name", "third", "box", "sleep", "1000")
    layertool.ok("kill", "--signal", "USR1", "third")
    assert layertool.ok("wait", "third") == f"{128 + signal.SIGUSR1}\n"
    assert layertool("kill", "third").returncode == 1
    assert layertool("kill", "-s", "NONSENSE", "third").returncode == 2


def test_the_truth_after_a_crash(layertool: Program) -> None:
    """kill -9 of the monitor: everything inside ends, nothing stays mounted, ps says so."""
    layertool.ok("run", "-d", "--name", "lost", "box", "sh", "-c", "echo x > /x; sleep 1000")
    init = listed(layertool, "lost")["pid"]
    wait_until(lambda: "A /x" in layertool.ok("diff", "lost"))
    os.kill(_monitor(init), signal.SIGKILL)
    wait_until(lambda: start_time(init) is None)
    seen = listed(layertool, "lost")
    assert (seen["state"], seen["exit_code"], seen["pid"]) == ("exited", 137, None)
    assert layertool.ok("diff", "lost") == "A /x\n"
    layertool.ok("rm", "lost")


def _monitor(init: int) -> int:
    """The process above a container's pid 1 that is not the runner: the first with our program."""
    pid = init
    while True:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if parent == 1 or b"run\0-d\0" not in Path(f"/proc/{parent}/cmdline").read_bytes():
            return pid
        pid = parent


def test_logs_follow_and_keep_bytes(layertool: Program) -> None:
    script = r"echo one; printf '\377\n'; sleep 0.5; echo two"
    layertool.ok("run", "-d", "--name", "talker", "box", "sh", "-c", script)
    assert layertool.ok("logs", "-f", "talker") == "one\n\udcff\ntwo\n"
    stamped = [line.split() for line in layertool.ok("logs", "-t", "talker").splitlines()]
    assert [word for _, word in stamped] == ["one", "\udcff", "two"]
    assert all(time.startswith("20") for time, _ in stamped)
    assert layertool.ok("logs", "--tail", "1", "talker") == "two\n"
    assert layertool("logs", "-n", "x", "talker").returncode == 2


def test_logs_of_the_foreground(layertool: Program) -> None:
    """As docker keeps them; what is removed at its end has none to keep."""
    done = layertool("run", "--name", "said", "box", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    logged = layertool("logs", "said")
    assert (logged.stdout, logged.stderr) == ("out\n", "err\n")
    endless = layertool.start("run", "--name", "yes", "box", "sh", "-c", "while :; do echo y; done")
    assert endless.stdout is not None
    assert endless.stdout.readline() == "y\n"
    endless.stdout.close()
    assert endless.wait(SECONDS) == 128 + signal.SIGPIPE
    assert layertool.ok("run", "-i", "--name", "cat", "box", "cat", text="typed\n") == "typed\n"
    assert layertool.ok("logs", "cat") == "typed\n"
    assert layertool.ok("run", "-t", "--name", "tty", "box", "echo", "hi") == "hi\n"
    assert layertool.ok("logs", "tty") == "hi\n"


def test_the_root_directory_is_the_images(layertool: Program) -> None:
    archive = layertool.room / "closed.tar"
    with tarfile.open(archive, "w") as tar:
        root = tarfile.TarInfo("./")
        root.type, root.mode, root.uid, root.gid = tarfile.DIRTYPE, 0o700, 1000, 2000
        tar.addfile(root)
        for path in (layertool.room / "base").iterdir():
            tar.add(path, arcname=path.name)
    layertool.ok("import", archive, "--name", "closed")
    # A namespace of one id has no number for another owner.
    owner = "0:0" if layertool.account.name == "nobody" else "1000:2000"
    for driver in ("kernel", "fuse"):
        seen = layertool.ok(
            "run", "--name", driver, "--driver", driver, "closed", "stat", "-c", "%a %u:%g", "/"
        )
        assert seen == f"700 {owner}\n"
        assert layertool.ok("diff", driver) == ""
    layertool.ok("commit", "kernel", "again")
    assert layertool.ok("run", "--rm", "again", "stat", "-c", "%a %u:%g", "/") == f"700 {owner}\n"


def test_users_own_their_files(layertool: Program) -> None:
    """With one id there are no others; with ranges they are real, in layers, uppers and commits."""
    run = ["run", "--name", "mine", "-u", "app", "box"]
    done = layertool(*run, "sh", "-c", "touch /home/app/x && id -G && stat -c %u:%g /home/app/x")
    if layertool.account.name == "nobody":
        assert done.returncode == 125
        assert "/etc/subuid" in done.stderr
        return
    assert done.stdout.split("\n")[:2] == ["1000 2000", "1000:1000"], done.stderr
    layertool.ok("commit", "mine", "kept")
    seen = layertool.ok("run", "--rm", "kept", "stat", "-c", "%u:%g", "/home/app/x", "/bin/busybox")
    assert seen.split() == ["1000:1000", "0:0"]
    layertool.ok("rm", "mine")


def test_a_bad_name_among_good_ones(layertool: Program) -> None:
    """The others are done; an ordinary user's containers are in namespaces of their own."""
    for name in ("one", "two"):
        layertool.ok("run", "-d", "--name", name, "box", "sleep", "60")
    for words, printed in (
        (["kill"], ["one", "two"]),
        (["wait"], ["137", "137"]),
        (["stop"], ["one", "two"]),
        (["rm"], ["one", "two"]),
    ):
        done = layertool(*words, "one", "nosuch", "two")
        assert done.returncode == 1
        assert done.stdout.split() == printed
        assert done.stderr.startswith("layertool: no such container: nosuch")
        assert done.stderr.count("\n") == 1


def test_several_running_ones_are_removed_by_force(layertool: Program) -> None:
    for name in ("one", "two"):
        layertool.ok("run", "-d", "--name", name, "box", "sleep", "60")
    assert layertool.ok("rm", "-f", "one", "two") == "one\ntwo\n"
    assert layertool.json("ps", "-a", "--json") == []


def test_ages_are_told_as_docker_does(layertool: Program) -> None:
    layertool.ok("run", "--name", "web", "box", "true")
    head, row = layertool.ok("ps", "-a").splitlines()
    cells = [cell.strip() for cell in re.split(r" {3,}", row)]
    assert dict(zip(re.split(r" {3,}", head), cells, strict=True)) | {"CREATED": "", "STATUS": ""} == {
        "CONTAINER ID": listed(layertool, "web")["id"][:12], "IMAGE": "box", "COMMAND": "true",
        "CREATED": "", "STATUS": "", "NAMES": "web",
    }  # fmt: skip
    assert re.fullmatch(r"now|\d+ seconds? ago", cells[3])
    assert re.fullmatch(r"Exited \(0\) \d+ seconds ago", cells[4])


def test_diff(layertool: Program) -> None:
    layertool.ok("run", "--name", "idle", "box", "true")
    assert layertool.ok("diff", "idle") == ""
    script = "echo x > /etc/hostname; rm /data/file; mkdir /a; touch /a/b; chmod 700 /root"
    layertool.ok("run", "--name", "busy", "box", "sh", "-c", script)
    assert layertool.ok("diff", "busy").splitlines() == [
        "A /a",
        "A /a/b",
        "C /data",
        "D /data/file",
        "C /etc",
        "A /etc/hostname",
        "C /root",
    ]
    assert {"kind": "D", "path": "/data/file"} in layertool.json("diff", "--json", "busy")


def test_commit(layertool: Program) -> None:
    before = layertool.json("history", "box", "--json")
    layertool.ok("run", "--name", "work", "box", "sh", "-c", "echo new > /data/new; rm file")
    identity = layertool.ok(
        "commit", "--change", "CMD cat /data/new", "-c", "ENV ADDED=$FROM_IMAGE", "-m", "because",
        "--author", "me", "work", "box2",
    ).strip()  # fmt: skip
    assert layertool.ok("run", "--rm", "box2") == "new\n"
    assert layertool.ok("run", "--rm", "box2", "ls", "/data") == "new\n"
    assert layertool.ok("run", "--rm", "box2", "env").count("ADDED=yes") == 1
    (seen,) = [each for each in layertool.json("images", "--json") if "box2" in each["name"]]
    assert identity.endswith(seen["id"]) or seen["id"] in identity
    after = layertool.json("history", "box2", "--json")
    assert len(after) == len(before) + 1
    assert "because" in json.dumps(after)
    assert layertool.ok("run", "--rm", "box", "ls", "/data") == "file\n"


def test_what_nobody_may_read(layertool: Program) -> None:
    """Modes of 0 in an upper, in a layer and in overlayfs' work directory stop no command."""
    script = (
        "echo x > /secret; mkdir /closed; echo y > /closed/in; rm -r /home/app; mkdir /home/app;"
        "chmod 0 /secret /closed /home/app /data /data/file"
    )
    layertool.ok("run", "--name", "work", "box", "sh", "-c", script)
    changed = ["A /closed", "A /closed/in", "C /data", "C /data/file", "C /home", "C /home/app",
               "A /secret"]  # fmt: skip
    assert layertool.ok("diff", "work").splitlines() == changed
    total = layertool.json("df", "--json")[-1]["size"]
    if os.geteuid() == 0:  # else du may not look everywhere
        assert abs(total - du(layertool.room / "store")) < 100_000  # the database's log
    layertool.ok("commit", "work", "closed")
    layertool.ok("commit", "--squash", "work", "flat")
    for name in ("closed", "flat"):
        done = layertool.ok("run", "--name", f"from-{name}", name, "cat", "/secret", "/closed/in")
        assert done == "x\ny\n"
        assert layertool.ok("diff", f"from-{name}") == ""
        layertool.ok("compare", name, name)
    assert layertool.ok("fsck") == ""
    layertool.ok("rm", "work", "from-closed", "from-flat")
    layertool.ok("rmi", "closed", "flat")
    layertool.ok("gc")
    assert layertool.ok("fsck") == ""


def test_commit_squashed(layertool: Program) -> None:
    layertool.ok("run", "--name", "work", "box", "sh", "-c", "echo new > /data/new; rm file")
    layertool.ok("commit", "--squash", "work", "flat")
    assert len(layertool.json("history", "flat", "--json")) == 1
    assert layertool.ok("run", "--rm", "flat", "ls", "/data", "/").split()[:2] == ["/:", "bin"]
    assert layertool.ok("run", "--rm", "flat", "ls", "/data") == "new\n"


def test_commit_of_a_running_container(layertool: Program) -> None:
    layertool.ok("run", "-d", "--name", "live", "box", "sh", "-c", "echo x > /x; sleep 1000")
    wait_until(lambda: "A /x" in layertool.ok("diff", "live"))
    layertool.ok("commit", "live", "snapshot")
    assert layertool.ok("run", "--rm", "snapshot", "cat", "/x") == "x\n"
    assert listed(layertool, "live")["state"] == "running"


@pytest.mark.parametrize(
    "change", ["RUN x", "FROM y", "COPY a b", "NONSENSE", "CMD x\nCMD y", "EXPOSE many"]
)
def test_bad_change(layertool: Program, change: str) -> None:
    layertool.ok("run", "--name", "work", "box", "true")
    done = layertool("commit", "--change", change, "work", "bad")
    assert done.returncode == 2, done.stderr
    assert "--change" in done.stderr
    assert layertool("inspect", "bad").returncode != 0


def test_chroot_into_an_image(layertool: Program) -> None:
    """As `run` would start it, but no container comes of it."""
    assert layertool.ok("chroot", "box") == "default yes\n/data\n"
    assert layertool.ok("chroot", "box", "--", "cat", "file") == "from the image\n"
    assert layertool.ok("chroot", "-w", "/etc", "-e", "A=b", "box", "sh", "-c", "pwd; echo $A") == (
        "/etc\nb\n"
    )
    assert layertool("chroot", "box", "touch", "x").returncode == 1
    up = layertool.room / "up"
    # The rmi is of another process, while this one is at work.
    inside = layertool.start("chroot", "--upper", up, "box", "sh", "-c", "sleep 2; cat file > new")
    wait_until(up.exists)
    layertool.ok("rmi", "box")
    layertool.ok("gc")
    _, errors = inside.communicate(timeout=SECONDS)
    assert inside.returncode == 0, errors
    assert (up / "data/new").read_text() == "from the image\n"
    assert layertool.json("ps", "-a", "--json") == []
    assert layertool.json("images", "--json") == []


@pytest.mark.mounted
def test_mount_an_image(layertool: Program) -> None:
    at = layertool.room / "at"
    at.mkdir()
    os.chown(at, layertool.account.uid, layertool.account.gid)
    layertool.ok("mount", "box", at)
    read = subprocess.run(
        [*layertool.account.prefix, "cat", str(at / "data/file")], capture_output=True, text=True
    )
    assert read.stdout == "from the image\n", read.stderr
    refused = layertool("rmi", "box")
    assert refused.returncode == 1, "its layers are in use"
    assert f"layertool umount {at}" in refused.stderr
    layertool.ok("umount", at)
    assert layertool.json("ps", "-a", "--json") == []


@pytest.mark.mounted
def test_a_mount_that_did_not_survive_a_reboot(layertool: Program) -> None:
    """The mount and its record in /run are gone then, the container is not."""
    at = layertool.room / "at"
    at.mkdir()
    os.chown(at, layertool.account.uid, layertool.account.gid)
    layertool.ok("mount", "box", at)
    for record in (layertool.room / "runtime", Path("/run/layertool")):
        for path in record.rglob("*.json"):
            if json.loads(path.read_text())["target"] == str(at):
                path.unlink()
    program = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
    subprocess.run([*program, str(at)], check=True)
    (seen,) = layertool.json("ps", "-a", "--json")
    assert seen["state"] == "exited"
    layertool.ok("rm", seen["name"])


def test_an_image_in_use(layertool: Program) -> None:
    layertool.ok("run", "--name", "one", "box", "true")
    refused = layertool("rmi", "box")
    assert refused.returncode == 1
    assert "box is used by container one: first layertool rm one, or" in refused.stderr
    layertool.ok("run", "--name", "two", "box", "true")
    assert (
        "used by containers one, two: first layertool rm one two" in layertool("rmi", "box").stderr
    )
    assert layertool.ok("rmi", "--force", "box") == "Untagged: box:latest\n"
    (image,) = layertool.json("images", "--json")
    assert image["name"] == "<none>"
    assert layertool("rmi", "--force", image["id"]).returncode == 1
    assert layertool.ok("diff", "one") == ""
    layertool.ok("rm", "one", "two")
    assert layertool.ok("rmi", image["id"]) == f"Deleted: {image['id']}\n"


@pytest.mark.mounted
def test_mount_writable(layertool: Program) -> None:
    if layertool.account.name not in ("root", "nobody"):
        pytest.skip("impossible here: files of subordinate ids cannot be written from outside")
    at = layertool.room / "at"
    at.mkdir()
    os.chown(at, layertool.account.uid, layertool.account.gid)
    name = layertool.ok("mount", "--rw", "box", at).strip()
    assert listed(layertool, name)["state"] == "mounted"
    assert "mounted" in layertool("rm", name).stderr
    subprocess.run([*layertool.account.prefix, "touch", str(at / "data/made")], check=True)
    layertool.ok("umount", at)
    assert "lost" not in listed(layertool, name)["status"]
    assert layertool.ok("diff", name) == "C /data\nA /data/made\n"
    layertool.ok("commit", name, "made")
    assert "made" in layertool.ok("run", "--rm", "made", "ls", "/data")


def test_servers_may_open_their_output_again(layertool: Program) -> None:
    """Logging to /dev/stdout as another user than root: the pattern of the nginx image."""
    user = "0" if layertool.account.name == "nobody" else "app"
    script = "echo again > /dev/stdout; echo oops > /dev/stderr"
    layertool.ok("run", "-d", "--name", "server", "-u", user, "box", "sh", "-c", script)
    assert layertool.ok("wait", "server") == "0\n"
    logs = layertool("logs", "server")
    assert (logs.stdout, logs.stderr) == ("again\n", "oops\n")
