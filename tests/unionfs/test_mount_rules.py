"""Mount-time rules on the real program: what mounts, what it shows, what is refused and how.

Rows that kernel overlayfs and fuse-overlayfs answer differently are named where ours decides.
"""

import errno
import os
import re
import select
import signal
import stat
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fstest import drivers

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root")]

PROGRAM = (sys.executable, "-m", "unionfs.cli")
UNIONFS = os.path.join(sysconfig.get_path("scripts"), "unionfs")
SECONDS = 30
RW = "lowerdir=low:base,upperdir=up,workdir=work"


class Place:
    """A directory with layers, from which the program is run; knows the mounts it made."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.points: list[Path] = []

    def run(
        self,
        options: str | bytes,
        *arguments: str,
        point: str = "mnt",
        prefix: tuple[str, ...] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Mount at *point* with these -o options; reads stderr to its end, as podman does."""
        where = self.top / point
        self.points.append(where)
        command = [*prefix, *PROGRAM, *arguments, str(where), "-o", options]
        return subprocess.run(
            command, cwd=self.top, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def mount(self, options: str | bytes, *arguments: str, point: str = "mnt") -> Path:
        """Mount, and insist on success without a word."""
        done = self.run(options, *arguments, point=point)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
        return self.top / point

    def refusal(self, options: str | bytes, *arguments: str, point: str = "mnt") -> str:
        """The one line of a refusal that changed nothing."""
        before = self.everything()
        done = self.run(options, *arguments, point=point)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
        assert done.stderr.startswith("unionfs: ")
        assert self.everything() == before
        return done.stderr

    def everything(self) -> list[str]:
        """Every name below the directory."""
        return sorted(os.path.join(top, n) for top, d, f in os.walk(self.top) for n in d + f)

    def fields(self, point: str = "mnt") -> tuple[str, str, set[str]]:
        """Source, type and options in /proc/mounts."""
        for line in Path("/proc/mounts").read_text().splitlines():
            source, where, kind, options, *_ = line.split()
            if where == str(self.top / point):
                return source, kind, set(options.split(","))
        raise AssertionError("not mounted")

    def daemon(self, point: str = "mnt") -> int:
        """The process that serves the mount."""
        (pid,) = drivers.daemons_at(self.top / point)
        return pid

    def unmount(self, point: str = "mnt") -> None:
        """Unmount as an administrator does; the daemon ends by itself."""
        pid = self.daemon(point)
        subprocess.run(["umount", self.top / point], check=True, timeout=SECONDS)
        assert ended(pid)

    def clean(self) -> None:
        """Take away whatever is left, and end the daemons that a failed test left behind."""
        for point in reversed(self.points):
            pids = drivers.daemons_at(point)
            while drivers.is_mounted(point):
                subprocess.run(["umount", "-l", point], timeout=SECONDS, check=True)
            for pid in pids:
                if not ended(pid):
                    os.kill(pid, signal.SIGKILL)


def ended(pid: int) -> bool:
    """Whether the process ends within SECONDS. It is not our child, so it is watched by pidfd."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], SECONDS)[0])
    finally:
        os.close(fd)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Layers low and base with a file of their own and one in common; also up, work and mnt."""
    for name in ("low", "base", "up", "work", "mnt"):
        (tmp_path / name).mkdir()
    for name in ("low", "base"):
        (tmp_path / name / f"{name}.txt").write_text(name)
        (tmp_path / name / "both").write_text(name)
    made = Place(tmp_path)
    yield made
    made.clean()


# --- stacks ---


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("l:c", rb"lowerdir=l\:c"),
        ("l,m", rb"lowerdir=l\,m"),
        (r"l\b", rb"lowerdir=l\\b"),
        ("l:c", b"lowerdir+=l:c"),
        (os.fsdecode(b"l\xff\n"), b"lowerdir=l\xff\n"),
        ("l b", b"lowerdir=:l b:"),
    ],
)
def test_a_lower_with_a_difficult_name(place: Place, name: str, option: bytes) -> None:
    (place.top / name).mkdir()
    (place.top / name / "found").touch()
    assert os.listdir(place.mount(option)) == ["found"]


@pytest.mark.parametrize("lowers", ["low", "low:base", "low:low", "low:base:"])
def test_without_an_upper_it_is_a_read_only_view(place: Place, lowers: str) -> None:
    mnt = place.mount(f"lowerdir={lowers}")
    assert (mnt / "both").read_text() == "low"
    assert "ro" in place.fields()[2]
    with pytest.raises(OSError) as refused:
        (mnt / "new").touch()
    assert refused.value.errno == errno.EROFS


def test_an_upper_makes_it_writable_and_ro_takes_that_back(place: Place) -> None:
    (place.mount(RW) / "new").write_text("x")
    assert "rw" in place.fields()[2]
    place.unmount()
    assert (place.top / "up" / "new").read_text() == "x"
    mnt = place.mount(f"{RW},ro")
    assert (mnt / "new").read_text() == "x"
    assert "ro" in place.fields()[2]
    with pytest.raises(OSError) as refused:
        (mnt / "new").unlink()
    assert refused.value.errno == errno.EROFS


@pytest.mark.parametrize("count", [500, 501, 1000])
def test_more_layers_than_the_kernel_takes(place: Place, count: int) -> None:
    for number in range(count):
        (place.top / f"{number}").mkdir()
        (place.top / f"{number}" / f"of{number}").touch()
        (place.top / f"{number}" / "shared").write_text(f"{number}")
    mnt = place.mount("lowerdir=" + ":".join(map(str, range(count))))
    assert len(os.listdir(mnt)) == count + 1
    assert (mnt / "shared").read_text() == "0"


@pytest.fixture
def metacopy(place: Place) -> Place:
    """In low a file that only holds metadata; its data is base/blob."""
    (place.top / "base" / "blob").write_text("the data")
    meta = place.top / "low" / "meta"
    meta.touch()
    os.truncate(meta, len("the data"))
    os.setxattr(meta, "trusted.overlay.metacopy", b"")
    os.setxattr(meta, "trusted.overlay.redirect", b"/blob")
    return place


def test_data_only_layers_give_data_and_no_names(metacopy: Place) -> None:
    mnt = metacopy.mount("lowerdir=low::base")
    assert sorted(os.listdir(mnt)) == ["both", "low.txt", "meta"]
    assert (mnt / "meta").read_text() == "the data"
    assert [name for name in os.listxattr(mnt / "meta") if "overlay" in name] == []


def test_layers_around_each_other_and_the_mountpoint_do_not_hang(place: Place) -> None:
    """The kernel takes an upper and a mountpoint inside a lower; ours must not wait for itself."""
    mnt = place.mount("lowerdir=.,upperdir=up,workdir=work")
    done = subprocess.run(["ls", "-R", mnt], capture_output=True, text=True, timeout=SECONDS)
    assert "base.txt" in done.stdout
    (mnt / "new").write_text("x")
    assert (place.top / "up" / "new").read_text() == "x"


@pytest.mark.parametrize("lowers", ["low:base", "low::base"])
def test_metacopy_off_refuses_the_data(metacopy: Place, lowers: str) -> None:
    mnt = metacopy.mount(f"lowerdir={lowers},upperdir=up,workdir=work,metacopy=off")
    for access in (os.O_RDONLY, os.O_WRONLY):
        with pytest.raises(PermissionError):
            os.open(mnt / "meta", access)


@pytest.mark.parametrize("layer", ["low", "up"])
def test_mounting_over_a_layer_works(place: Place, layer: str) -> None:
    mnt = place.mount(RW, point=layer)
    assert (mnt / "base.txt").read_text() == "base"
    (mnt / "base.txt").write_text("changed")
    place.unmount(layer)
    assert (place.top / "up" / "base.txt").read_text() == "changed"


# --- refusals ---


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (r"lowerdir=l\b", "/lb: no such directory; create it (mkdir -p "),
        ("lowerdir=low,upperdir=up", "/up has no workdir; name an empty directory"),
        ("lowerdir=low,upperdir=up,workdir=up/in", "/up/in overlaps upperdir"),
        ("lowerdir=low,upperdir=up/in,workdir=up", "/up overlaps upperdir"),
        ("lowerdir=up,upperdir=up,workdir=work", "/up is the same directory as upperdir"),
        ("lowerdir=low,upperdir=low/low.txt,workdir=work", "/low.txt: not a directory"),
        ("lowerdir=mnt/in", "/mnt/in lies below the mountpoint"),
        ("lowerdir=low,upperdir=up,workdir=/proc", "/proc is on "),
        ("upperdir=up,workdir=work", "no lower layer"),
    ],
)
def test_refusals_name_the_path_and_the_remedy(place: Place, options: str, part: str) -> None:
    (place.top / "mnt" / "in").mkdir()
    (place.top / "up" / "in").mkdir()
    assert part in place.refusal(options)
    assert not drivers.is_mounted(place.top / "mnt")


@pytest.mark.parametrize("point", ["gone", "low/low.txt"])
def test_a_mountpoint_that_is_no_directory_is_refused(place: Place, point: str) -> None:
    assert place.refusal("lowerdir=low", point=point).startswith("unionfs: mountpoint ")


def test_an_upper_in_use_is_refused_with_the_pid_of_its_user(place: Place) -> None:
    (place.top / "mnt2").mkdir()
    place.mount(RW)
    pid = place.daemon()
    message = place.run(RW, point="mnt2").stderr
    assert "in use by a union" in message
    assert str(pid) in re.findall(r"\d+", message)
    assert (place.top / "mnt" / "both").read_text() == "low"


def test_the_place_of_a_dead_daemon_is_refused_until_unmounted(place: Place) -> None:
    mnt = place.mount(RW)
    pid = place.daemon()
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)
    done = place.run(RW)
    assert done.returncode == 1
    assert "a dead FUSE mount is there; remove it first: fusermount3 -u" in done.stderr
    subprocess.run(["fusermount3", "-u", mnt], check=True, timeout=SECONDS)
    assert (place.mount(RW) / "both").read_text() == "low"


def test_a_missing_device_is_named(place: Place) -> None:
    hide = 'mount -t tmpfs none /dev && exec "$@"'
    done = place.run("lowerdir=low", prefix=("unshare", "--mount", "sh", "-c", hide, "sh"))
    assert done.returncode == 1
    assert "/dev/fuse is absent; run as root: mknod -m 666 /dev/fuse c 10 229" in done.stderr


# --- options ---


def test_an_unknown_option_warns_and_mounts_or_is_refused(place: Place) -> None:
    done = place.run("lowerdir=low,bogus=1")
    assert (done.returncode, done.stderr) == (0, "unionfs: unknown option ignored: bogus=1\n")
    place.unmount()
    assert "bogus=1" in place.refusal("lowerdir=low,bogus=1", "--strict")


def test_the_mount_table_as_root(place: Place) -> None:
    place.mount(RW)
    source, kind, options = place.fields()
    assert (source, kind) == (f"unionfs:{place.top}/up", "fuse.unionfs")
    assert {"allow_other", "default_permissions"} <= options
    assert "nosuid" not in options


def test_mount_flags_reach_the_mount_table(place: Place) -> None:
    place.mount(f"{RW},nosuid,nodev,noexec,noatime,noallow_other,fsname=my name")
    source, _, options = place.fields()
    assert source == r"my\040name"
    assert {"nosuid", "nodev", "noexec", "noatime"} <= options
    assert "allow_other" not in options


def test_a_call_of_podman_works_as_it_is(place: Place) -> None:
    """Short links below the current directory, an empty item, a label in quotes, id maps."""
    (place.top / "l").mkdir()
    for short, layer in (("AB", "low"), ("CD", "base")):
        (place.top / "l" / short).symlink_to(f"../{layer}")
    done = place.run(
        f"lowerdir=l/AB:l/CD,upperdir={place.top}/up,workdir={place.top}/work,,nodev,volatile,"
        'context="system_u:object_r:container_file_t:s0:c104,c919",'
        "uidmapping=1000:0:65536,gidmapping=1000:0:65536"
    )
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "SELinux is not enabled" not in line] == []
    st = (place.top / "mnt" / "base.txt").stat()
    assert (st.st_uid, st.st_gid) == (1000, 1000)


# mount(8) clears PATH, and sh(1) then looks in /usr/local/sbin first. All in a private namespace.
MOUNT_8 = """
set -e
mount -t tmpfs none /usr/local/sbin
ln -s "$1" /usr/local/sbin/unionfs
mount -t fuse.unionfs none "$2" -o "$3"
grep " $2 " /proc/mounts
cat "$2/base.txt"
umount "$2"
"""


def test_mount_8_finds_the_program_and_its_noise_is_swallowed(place: Place) -> None:
    mnt = place.top / "mnt"
    options = f"lowerdir={place.top}/low:{place.top}/base,_netdev,nofail,x-systemd.automount"
    command = ["unshare", "--mount", "sh", "-c", MOUNT_8, "sh", UNIONFS, mnt, options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"unionfs:{place.top}/low {mnt} fuse.unionfs ro" in done.stdout
    assert done.stdout.endswith("\nbase")


@pytest.mark.parametrize("option", ["noatime", "atime"])
def test_noatime_keeps_access_times_in_the_upper(place: Place, option: str) -> None:
    for layer in ("up", "low"):
        (place.top / layer / f"{layer}.old").write_text("x")
        os.utime(place.top / layer / f"{layer}.old", ns=(0, 10**18))
    mnt = place.mount(f"{RW},{option}")
    for layer in ("up", "low"):
        (mnt / f"{layer}.old").read_text()
    assert ((place.top / "up" / "up.old").stat().st_atime_ns == 0) is (option == "noatime")
    assert (place.top / "low" / "low.old").stat().st_atime_ns == 0


# --- the work directory ---


def test_stale_work_is_emptied_and_the_kernels_closed_one_is_usable(place: Place) -> None:
    stale = place.top / "work" / "work"
    (stale / "deep" / "er").mkdir(parents=True)
    (stale / "#12").touch()
    stale.chmod(0)
    mnt = place.mount(RW)
    assert os.listdir(stale) == []
    (mnt / "both").write_text("changed")
    assert (place.top / "up" / "both").read_text() == "changed"


def kernel_mount(place: Place, more: str = "") -> subprocess.CompletedProcess[str]:
    point = place.top / "kernel"
    point.mkdir(exist_ok=True)
    place.points.append(point)
    return subprocess.run(
        ["mount", "-t", "overlay", "overlay", point, "-o", RW + more],
        cwd=place.top, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip


@pytest.mark.differential
def test_the_kernels_volatile_marker_is_honoured(place: Place) -> None:
    assert kernel_mount(place, ",volatile").returncode == 0
    subprocess.run(["umount", place.top / "kernel"], check=True, timeout=SECONDS)
    message = place.refusal(RW)
    assert "volatile" in message
    assert f"{place.top}/work/work/incompat" in message


@pytest.mark.differential
def test_the_kernel_honours_our_volatile_marker(place: Place) -> None:
    place.mount(f"{RW},volatile")
    place.unmount()
    assert kernel_mount(place).returncode != 0
    assert "volatile" in place.refusal(RW)


@pytest.mark.differential
def test_without_volatile_the_kernel_takes_over(place: Place) -> None:
    (place.mount(f"{RW},fsync=0") / "new").write_text("x")
    place.unmount()
    assert kernel_mount(place).returncode == 0
    assert (place.top / "kernel" / "new").read_text() == "x"


# --- the daemon ---


def test_the_daemon_lets_go_of_its_caller(place: Place) -> None:
    place.mount(RW)
    process = Path(f"/proc/{place.daemon()}")
    assert os.readlink(process / "cwd") == "/"
    assert {os.readlink(process / "fd" / fd) for fd in "012"} == {"/dev/null"}
    limit = next(
        line for line in (process / "limits").read_text().splitlines() if "open files" in line
    )
    soft, hard = limit.split()[3:5]
    assert soft == hard
    session = int((process / "stat").read_text().rpartition(")")[2].split()[3])
    assert session == int(process.name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts(place: Place, number: signal.Signals) -> None:
    mnt = place.mount(RW)
    (mnt / "new").write_text("x")
    pid = place.daemon()
    os.kill(pid, number)
    assert ended(pid)
    assert not drivers.is_mounted(mnt)
    assert (place.top / "up" / "new").read_text() == "x"


def test_in_the_foreground_it_ends_well_after_an_unmount(place: Place) -> None:
    mnt = place.top / "mnt"
    place.points.append(mnt)
    command = [*PROGRAM, "-f", str(mnt), "-o", RW]
    with subprocess.Popen(command, cwd=place.top, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until_mounted(mnt)
            subprocess.run(["umount", mnt], check=True, timeout=SECONDS)
            _, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")


def wait_until_mounted(point: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not drivers.is_mounted(point):
        assert time.monotonic() < deadline, "not mounted in time"
        time.sleep(0.01)


def test_layers_and_mountpoint_may_be_named_from_the_current_directory(place: Place) -> None:
    relative = f"{place.top.name}/mnt"
    place.points.append(place.top / "mnt")
    command = [*PROGRAM, "-o", f"lowerdir={place.top.name}/low", relative]
    subprocess.run(command, cwd=place.top.parent, check=True, timeout=SECONDS)
    assert (place.top / "mnt" / "low.txt").read_text() == "low"


def test_what_lies_in_upper_is_the_kernels_format_and_nothing_private(place: Place) -> None:
    mnt = place.mount(RW)
    (mnt / "base.txt").unlink()
    assert os.listdir(place.top / "up") == ["base.txt"]
    st = (place.top / "up" / "base.txt").lstat()
    assert stat.S_ISCHR(st.st_mode)
    assert st.st_rdev == 0
