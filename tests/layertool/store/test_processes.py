"""Many processes, killed processes, full disks: the store stays sound, the operation repeatable."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from registrytest.images import MadeImage, layer_tar, make_image, noise
from storetest import put

from layertool.cli import main
from layertool.errors import LayertoolError
from layertool.oci.names import Reference
from layertool.sandbox.commit import CommitFlags, commit
from layertool.store import Store
from layertool.store.locks import Scratch
from layertool.transport import open_sink, save_from

KILLS = int(os.environ.get("LAYERTOOL_KILLS", "100"))
SECONDS = 60
_MAIN = "import sys; from layertool.cli import main; sys.exit(main())"


def layertool(root: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _MAIN, "--root", str(root), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    return output


def files(count: int, seed: int) -> dict[str, bytes]:
    return {f"dir{n % 7}/file{n}": noise(3000, seed * 1000 + n) for n in range(count)}


def archive(where: Path, made: MadeImage, name: str) -> Path:
    """The image as an OCI archive."""
    store = Store.open(where / "maker")
    image = put(store, made, name)
    path = where / f"{name}.oci.tar"
    save_from(store, image, open_sink(str(path)))
    return path


def test_imports_side_by_side_store_one_copy(tmp_path: Path) -> None:
    base = files(200, 1)
    archives = [
        archive(tmp_path, make_image([base, {"own": bytes([number])}]), f"image{number}")
        for number in range(3)
    ]
    root = tmp_path / "store"
    running = [layertool(root, "import", "-q", path) for path in [*archives, *archives]]
    for process in running:
        finish(process)
    store = Store.open(root)
    assert sorted(image.names[0].familiar for image in store.images()) == [
        f"image{number}:latest" for number in range(3)
    ]
    assert len(list((root / "layers/sha256").iterdir())) == 4
    assert list((root / "tmp").iterdir()) == []
    assert store.fsck() == []


def test_gc_beside_imports_takes_nothing_that_is_needed(tmp_path: Path) -> None:
    paths = [
        archive(tmp_path, make_image([files(100, number)]), f"image{number}") for number in range(3)
    ]
    root = tmp_path / "store"
    imports = [layertool(root, "import", "-q", path) for path in paths]
    store = Store.open(root)
    while any(process.poll() is None for process in imports):
        store.gc()
    for process in imports:
        finish(process)
    assert len(store.images()) == 3
    assert store.fsck() == []


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Archives of two images with a common base."""
    base = files(150, 5)
    return (
        archive(tmp_path, make_image([base]), "base"),
        archive(tmp_path, make_image([base, files(150, 6)]), "derived"),
    )


class Killable:
    """The program in a fork of this process: none of its time goes into starting Python."""

    def __init__(self, root: Path, *arguments: str | Path) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.setsid()
                null = os.open(os.devnull, os.O_RDWR)
                for fd in (0, 1, 2):
                    os.dup2(null, fd)
                status = main(["--root", str(root), *map(str, arguments)])
            finally:
                os._exit(status)

    def finish(self) -> int:
        """The exit status."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self) -> bool:
        """End it and its children; whether it was still at work."""
        with contextlib.suppress(ProcessLookupError):  # before its setsid, or after its end
            os.killpg(self.pid, signal.SIGKILL)
        os.kill(self.pid, signal.SIGKILL)
        return self.finish() == -signal.SIGKILL


@pytest.mark.slow
def test_killed_at_any_point_it_can_simply_be_repeated(
    tmp_path: Path, two: tuple[Path, Path]
) -> None:
    """An import, a removal, a commit, a collection; each time the store is sound at once."""
    base, derived = two
    root = tmp_path / "store"
    finish(layertool(root, "import", "-q", base, "--name", "kept"))
    store = Store.open(root)
    container = store.create_container(store.resolve("kept"), name="work", config={})
    for name, content in files(100, 8).items():
        (container.upper / name).parent.mkdir(exist_ok=True)
        (container.upper / name).write_bytes(content)
    store.close()
    commands = [
        ("import", "-q", derived),
        ("rmi", "derived"),
        ("commit", "work", "committed"),
        ("import", "-q", derived),
        ("rmi", "committed"),
        ("gc",),
    ]
    whole = []
    for command in commands:  # once in peace, to know how long each takes
        started = time.monotonic()
        assert Killable(root, *command).finish() == 0, command
        whole.append(time.monotonic() - started)
    random_ = random.Random(7)
    killed = 0
    for turn in range(KILLS):
        at = turn % len(commands)
        process = Killable(root, *commands[at])
        time.sleep(random_.uniform(0, whole[at]))
        killed += process.kill()
        store = Store.open(root)
        assert store.fsck() == [], f"turn {turn}: {commands[at]}"
        assert store.resolve("kept").layer_dirs()[0].is_dir()
        store.close()
    assert killed > KILLS // 2
    for command in (commands[0], commands[2]):
        assert Killable(root, *command).finish() == 0, command
    store = Store.open(root)
    store.gc()
    # A kill between an image and its new name leaves the one before it, without a name.
    assert {str(name) for image in store.images() for name in image.names} == {
        f"docker.io/library/{name}:latest" for name in ("kept", "derived", "committed")
    }
    assert len(list((root / "layers/sha256").iterdir())) == 3
    assert list((root / "tmp").iterdir()) == []
    assert store.fsck() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB, empty."""
    place = tmp_path / "disk"
    place.mkdir()
    options = "size=4m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def leave(disk: Path, free: int) -> Path:
    """Fill a file system until only `free` bytes are left; the file that does so."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    space = os.statvfs(disk)
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(space.f_bavail * space.f_bsize - free, 1))
    return filler


@pytest.mark.needs("root")
@pytest.mark.parametrize("action", ["import", "commit"])
def test_a_full_disk_at_any_write_leaves_the_store_sound(small_disk: Path, action: str) -> None:
    store = Store.open(small_disk / "store")
    kept = put(store, make_image([{"etc/kept": b"1"}]), "kept")
    made = make_image([{f"file{n}": noise(20_000, n) for n in range(20)}])
    container = store.create_container(kept, name="work", config={})
    if action == "commit":
        for number in range(20):
            (container.upper / f"file{number}").write_bytes(noise(20_000, number))

    def act() -> None:
        if action == "import":
            put(store, made, "new")
        else:
            commit(store, container, kept, Reference.parse("new"), CommitFlags())

    failures = 0
    for left in range(0, 1_200_000, 60_000):
        filler = leave(small_disk, left)
        try:
            act()
        except LayertoolError as error:
            failures += 1
            assert "\n" not in str(error)
        filler.unlink()
        assert store.fsck() == [], f"{left} bytes left"
        assert store.resolve(kept.id).layer_dirs()[0].is_dir()
        if any(name.path.endswith("/new") for image in store.images() for name in image.names):
            store.remove_image("new")
        store.gc()
    assert failures > 3
    act()
    assert store.fsck() == []
    store.close()


@pytest.mark.needs("root")
def test_no_container_is_made_on_a_full_disk(small_disk: Path) -> None:
    store = Store.open(small_disk / "store")
    image = put(store, make_image([{"etc/kept": b"1"}]), "kept")
    for left in range(0, 40_000, 4096):
        leave(small_disk, left)
        try:
            made = store.create_container(image, name="work", config={"argv": ["x" * 10_000]})
        except LayertoolError as error:
            assert "No space left on device" in str(error) or "disk is full" in str(error)
        else:
            made.remove()  # which makes room, so it must not need any
        assert store.containers() == [], f"{left} bytes left"
        assert list((store.root / "containers").iterdir()) == [], f"{left} bytes left"
    leave(small_disk, 100_000)
    assert store.create_container(image, name="work", config={}).name == "work"
    store.close()


@pytest.mark.needs("root")
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci"])
def test_an_export_to_a_full_disk_leaves_nothing(
    tmp_path: Path, small_disk: Path, form: str
) -> None:
    store = Store.open(tmp_path / "store")
    put(store, make_image([{f"file{n}": noise(20_000, n) for n in range(20)}]), "big")
    leave(small_disk, 100_000)
    target = small_disk / "out"
    done = layertool(store.root, "export", "--format", form, "big", target)
    _, errors = done.communicate(timeout=SECONDS)
    assert done.returncode == 1
    assert "No space left on device" in errors
    assert errors.startswith("layertool: ") and errors.count("\n") == 1
    assert [path for path in small_disk.rglob("*") if path.is_file()] == [small_disk / "filler"]


def test_litter_of_a_dead_process_goes_that_of_a_living_one_stays(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    (tmp_path / "layer-dead").mkdir()
    with scratch.workspace("layer") as alive:
        Scratch(tmp_path).clean()
        assert list(tmp_path.iterdir()) == [alive]
    assert list(tmp_path.iterdir()) == []


def test_a_lease_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from layertool.store import Store\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        "with store.lease():\n"
        "    store.put_blob(b'content'); print('put', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "put\n"
    store = Store.open(tmp_path / "store")
    assert store.gc().blobs == 0
    process.kill()
    process.communicate(timeout=SECONDS)
    assert store.gc().blobs == 1


def test_a_deep_tree_can_be_removed(tmp_path: Path) -> None:
    import gzip
    import io

    from layertool.oci.digest import Digest
    from layertool.oci.model import Descriptor

    # Deeper than Python recurses, a longer path than the kernel takes.
    tar = layer_tar({"/".join(["d"] * 1500) + "/file": b"1"})
    blob = gzip.compress(tar)
    store = Store.open(tmp_path / "store")
    diff_id = Digest.of(tar)
    with store.lease():
        descriptor = Descriptor.of(blob, "application/vnd.oci.image.layer.v1.tar+gzip")
        store.put_layer(io.BytesIO(blob), descriptor, diff_id)
        assert store.fsck() == []
    assert store.gc().layers == 1
    assert not store.has_layer(diff_id)


def test_tags_survive_a_name_that_two_want(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    image = put(store, make_image([{"f": b"1"}]), "one")
    code = (
        "import sys; from pathlib import Path; from layertool.store import Store\n"
        "from layertool.oci.names import Reference\n"
        "store = Store.open(Path(sys.argv[1])); image = store.resolve('one')\n"
        "for n in range(20): store.tag(image, Reference.parse(f'name{n}:{sys.argv[2]}'))\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(store.root), str(number)])
        for number in range(3)
    ]
    assert [process.wait(SECONDS) for process in running] == [0, 0, 0]
    assert len(store.resolve(image.id).names) == 61
    store.untag(Reference.parse("name0:0"))
    assert len(store.resolve(image.id).names) == 60
