"""The image commands as people and scripts call them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from registrytest.images import layer_tar, make_image
from sandboxtest import account
from sandboxtest.program import Program, program
from storetest import BASE, du, put

from layertool.cli import main
from layertool.store import Store

pytestmark = [pytest.mark.needs("root")]


@pytest.fixture
def layertool(room: Path) -> Program:
    return program(account("root"), room)


@pytest.fixture
def rootfs(room: Path) -> Path:
    path = room / "debian.tar"
    path.write_bytes(layer_tar(BASE))
    return path


def test_a_tar_becomes_an_image_and_goes_out_again(layertool: Program, rootfs: Path) -> None:
    identifier = layertool.ok("import", rootfs).strip()
    assert identifier.startswith("sha256:")
    (row,) = layertool.json("images", "--json")
    assert (row["name"], row["tag"], row["id"]) == ("debian", "latest", identifier)
    assert row["size"] == row["unique"] > 50_000
    assert (row["shared"], row["layers"]) == (0, 1)
    assert row["compressed"] == rootfs.stat().st_size
    digest = layertool.ok("export", "debian", layertool.room / "out.oci.tar").strip()
    assert digest == row["digest"]
    done = layertool("export", "debian", layertool.room / "out.tar")
    assert done.stdout.strip() == identifier
    assert f"cannot keep the manifest digest {digest}" in done.stderr
    layertool.ok("rmi", "debian")
    assert layertool.json("images", "--json") == []
    layertool.ok("import", layertool.room / "out.oci.tar", "--name", "again:1")
    assert layertool.json("images", "--json")[0]["digest"] == digest


def test_archives_on_standard_input_and_output(layertool: Program, rootfs: Path) -> None:
    """docker save | docker load."""
    identifier = layertool.ok("import", rootfs).strip()
    archive = layertool.room / "saved"
    for form, magic in (("docker-archive", b"manifest.json"), ("oci-archive", b"oci-layout")):
        done = _piped(layertool, ["export", "-q", "--format", form, "debian", "-"])
        assert done.stderr.decode().startswith("sha256:"), done.stderr
        assert magic in done.stdout
        archive.write_bytes(done.stdout)
        layertool.ok("rmi", "debian")
        assert (
            _piped(layertool, ["import", "-q", "-"], archive).stdout.decode().strip() == identifier
        )
    layertool.ok("rmi", "debian")
    _piped(layertool, ["import", "-", "--name", "debian:12"], rootfs)
    assert layertool.json("images", "--json")[0]["tag"] == "12"
    assert not Path("-").exists()


def _piped(
    layertool: Program, words: list[str], source: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    data = source.read_bytes() if source else b""
    return subprocess.run(
        layertool.words(*words), env=layertool.env(), input=data, capture_output=True, timeout=60
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "debian", "-"], "standard output is a terminal"),
        (["import", "-"], "standard input is a terminal"),
        (["export", "--format", "oci", "debian", "-"], "choose oci-archive"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_archives_are_not_for_terminals(layertool: Program, words: list[str], message: str) -> None:
    master, slave = os.openpty()
    try:
        done = subprocess.run(
            layertool.words(*words),
            env=layertool.env(),
            stdin=slave,
            stdout=slave,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (layertool.room / "store").exists(), "said before the store is touched"


@pytest.mark.parametrize("words", [(), ("-q",)], ids=["progress", "quiet"])
def test_long_work_says_how_far_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    monkeypatch.setattr("layertool.cli.progress._QUICK", -1)  # everything is long
    monkeypatch.setenv("LAYERTOOL_ROOT", str(tmp_path / "store"))
    store = Store.open()
    container = store.create_container(
        put(store, make_image([BASE]), "base"), name="work", config={}
    )
    (container.upper / "new").write_bytes(os.urandom(2_000_000))
    assert main(["commit", *words, "work", "bigger"]) == 0
    said = capsys.readouterr().err
    assert ("committing work: 2.0 MB" in said) is (not words)
    for form in ("docker-archive", "oci", "oci-archive"):
        assert main(["export", *words, "--format", form, "bigger", str(tmp_path / form)]) == 0
        said = capsys.readouterr().err
        assert ("exporting bigger: 2.0 MB" in said) is (not words)


def test_tables_are_for_people(layertool: Program, rootfs: Path) -> None:
    layertool.ok("import", rootfs, "--name", "debian:12")
    head, row = layertool.ok("images").splitlines()
    assert head.split() == ["NAME", "TAG", "ID", "CREATED", "SIZE", "UNIQUE", "SHARED", "LAYERS"]
    assert row.split()[:2] == ["debian", "12"]
    head, row = layertool.ok("history", "debian:12").splitlines()
    assert head.split() == ["CREATED", "CREATED", "BY", "SIZE", "LAYER", "COMMENT"]
    assert "layertool import debian.tar" in row
    assert "debian:12" in layertool.ok("images", "--tree")


def test_history_pairs_steps_with_layers(layertool: Program) -> None:
    made = make_image([BASE, {"new": b"1"}])
    config = json.loads(made.config)
    config["history"].insert(1, {"created_by": "ENV a=b", "empty_layer": True})
    put(Store.open(layertool.room / "store"), _with_config(made, config), "app")
    rows = layertool.json("history", "app", "--json")
    assert [row["created_by"] for row in rows] == ["layer 1", "ENV a=b", "layer 0"]
    assert [row["empty_layer"] for row in rows] == [False, True, False]
    assert [row["diff_id"] for row in rows] == [
        config["rootfs"]["diff_ids"][1],
        "",
        config["rootfs"]["diff_ids"][0],
    ]
    (image,) = layertool.json("images", "--json")
    assert sum(row["size"] for row in rows) == image["size"]


def _with_config(made, config):  # type: ignore[no-untyped-def]
    from registrytest.images import OCI_CONFIG, MadeImage, descriptor

    raw = json.dumps(config).encode()
    manifest = json.loads(made.manifest) | {"config": descriptor(raw, OCI_CONFIG)}
    return MadeImage(json.dumps(manifest).encode(), raw, made.layers)


def test_a_history_that_does_not_match_is_shown_by_position(layertool: Program) -> None:
    made = make_image([BASE, {"new": b"1"}])
    config = json.loads(made.config)
    config["history"] = [{"created_by": "only one"}]
    put(Store.open(layertool.room / "store"), _with_config(made, config), "app")
    done = layertool("history", "app", "--json")
    assert "does not match" in done.stderr
    assert [row["created_by"] for row in json.loads(done.stdout)] == ["", "only one"]


def test_inspect_shows_images_and_containers(layertool: Program, rootfs: Path) -> None:
    identifier = layertool.ok("import", rootfs).strip()
    store = Store.open(layertool.room / "store")
    store.create_container(store.resolve("debian"), name="web", config={})
    (image,) = layertool.json("inspect", "debian")
    assert image["Id"] == identifier
    assert image["RepoTags"] == ["debian:latest"]
    assert len(image["RootFS"]["Layers"]) == 1
    done = layertool("inspect", "debian", "nothing", "web")
    assert done.returncode == 1
    image, container = json.loads(done.stdout)
    assert (image["Id"], container["Name"]) == (identifier, "web")
    assert done.stderr == "layertool: no such object: nothing: neither an image nor a container\n"


def test_inspect_by_template(layertool: Program, rootfs: Path) -> None:
    identifier = layertool.ok("import", rootfs).strip()
    done = layertool.ok("inspect", "-f", "{{.Id}} {{.Config.Env}}{{.Config.User}}", "debian")
    assert done.startswith(f"{identifier} [")
    assert layertool.ok("inspect", "--format", "{{index .RepoTags 0}}", "debian", "debian") == (
        "debian:latest\ndebian:latest\n"
    )
    wrong = layertool("inspect", "-f", "{{.Nothing}}", "debian")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "there is no Nothing" in wrong.stderr


def test_inspect_a_name_that_may_mean_two_things(layertool: Program, rootfs: Path) -> None:
    identifier = layertool.ok("import", rootfs).strip()
    store = Store.open(layertool.room / "store")
    image = store.resolve("debian")
    while True:  # until ids begin alike
        container = store.create_container(image, name="debian", config={})
        if container.id[0] == image.id.hex[0]:
            break
        container.remove()

    def what(*words: str) -> str:
        return layertool.ok("inspect", "-f", "{{.Id}}", *words).strip()

    assert what("debian") == what("--type", "container", "debian") == container.id
    assert what("debian:latest") == what("--type", "image", "debian") == identifier
    assert what(container.id) == container.id
    assert what(identifier) == what(identifier[7:]) == identifier
    ambiguous = layertool("inspect", container.id[0])
    assert ambiguous.returncode == 1
    assert "fits an image and a container" in ambiguous.stderr
    assert what("--type", "image", container.id[0]) == identifier
    # A whole name is never the beginning of an id.
    layertool.ok("tag", "debian", container.id[:6])
    assert what(container.id[:6]) == identifier


def test_only_the_images_of_a_name(layertool: Program, rootfs: Path) -> None:
    layertool.ok("import", rootfs, "--name", "debian:12")
    for name in ("debian:11", "debby", "registry.example:5000/debian:12"):
        layertool.ok("tag", "debian:12", name)

    def shown(*words: str) -> set[str]:
        rows = layertool.json("images", "--json", *words)
        return {f"{row['name']}:{row['tag']}" for row in rows}

    assert shown("debian") == {"debian:12", "debian:11"}
    assert shown("debian:12") == shown("docker.io/library/debian:12") == {"debian:12"}
    assert shown("deb*") == {"debian:12", "debian:11", "debby:latest"}
    assert shown("registry.example:5000/*") == {"registry.example:5000/debian:12"}
    assert shown("nothing") == set()
    assert len(layertool.ok("images", "debian").splitlines()) == 3
    assert len(layertool.ok("images", "-q", "debian").splitlines()) == 1
    assert "debian:12" in layertool.ok("images", "--tree", "debby")
    assert layertool.ok("images", "--tree", "nothing") == ""
    assert layertool("images", "[").returncode == 2


def test_tag_and_rmi(layertool: Program, rootfs: Path) -> None:
    identifier = layertool.ok("import", rootfs).strip()
    layertool.ok("tag", "debian", "registry.example/base:12")
    assert len(layertool.json("images", "--json")) == 2
    done = layertool("rmi", identifier[7:19])
    assert done.returncode == 1
    assert "several names" in done.stderr
    assert layertool.ok("rmi", "debian", "registry.example/base:12").splitlines() == [
        "Untagged: debian:latest",
        "Untagged: registry.example/base:12",
        f"Deleted: {identifier}",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("history", "nothing"), "no such image: nothing"),
        (("export", "nothing", "x.tar"), "no such image: nothing"),
        (("rmi", "nothing"), "no such image: nothing"),
        (("tag", "nothing", "x"), "no such image: nothing"),
        (("import", "/nowhere.tar"), "/nowhere.tar: No such file or directory"),
        (("blame", "debian", "/no/such/file"), "/no/such/file: in no layer of debian"),
        (("export", "debian", "/nowhere/x.tar"), "/nowhere/x.tar: No such file or directory"),
        (("export", "debian", "x.tar.gz"), "archives are written uncompressed"),
        (("export", "debian", ""), "OUT is empty"),
        (("import", "-"), "standard input is empty"),
        (("--root", "", "images"), "--root is empty"),
    ],
)
def test_errors_are_one_line(
    layertool: Program, rootfs: Path, arguments: tuple[str, ...], message: str
) -> None:
    layertool.ok("import", rootfs)
    done = layertool(*arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("layertool: ")


def test_care(layertool: Program, rootfs: Path) -> None:
    layertool.ok("import", rootfs)
    rows = layertool.json("df", "--json")
    assert rows[-1]["type"] == "total"
    assert sum(row["size"] for row in rows[:-1]) == rows[-1]["size"]
    assert abs(rows[-1]["size"] - du(layertool.room / "store")) < 100_000  # the database's log
    assert layertool.ok("fsck") == ""
    Store.open(layertool.room / "store").untag(_reference("debian"))
    promised = layertool.json("gc", "--dry-run", "--json")
    assert promised["bytes"] > 50_000
    assert layertool.json("gc", "--json") == promised
    assert layertool.json("images", "--json") == []


def _reference(text: str):  # type: ignore[no-untyped-def]
    from layertool.oci.names import Reference

    return Reference.parse(text)


def test_fsck_says_and_repairs(layertool: Program, rootfs: Path) -> None:
    layertool.ok("import", rootfs)
    (layer,) = Store.open(layertool.room / "store").resolve("debian").layer_dirs()
    (layer / "etc/os-release").write_bytes(b"ID=evil\n")
    done = layertool("fsck")
    assert done.returncode == 1
    assert "etc/os-release: content differs" in done.stdout
    assert "unpacked again" in layertool.ok("fsck", "--repair")
    assert layertool.ok("fsck") == ""
    assert (layer / "etc/os-release").read_bytes() == b"ID=test\n"


def test_insight(layertool: Program) -> None:
    made = make_image([{"a": bytes(1000), "b": b"1"}, {"a": bytes(2000)}])
    store = Store.open(layertool.room / "store")
    put(store, made, "app")
    put(store, make_image([{"a": bytes(1000), "b": b"1"}]), "base")
    base, top = layertool.json("layers", "app", "--json")
    assert (base["bytes"], base["hidden"], top["bytes"]) == (1001, 1000, 2000)
    assert "#" in layertool.ok("layers", "app")
    assert [row["change"] for row in layertool.json("blame", "app", "/a", "--json")] == [
        "added",
        "changed",
    ]
    (waste,) = layertool.json("wasted", "app", "--json")
    assert (waste["path"], waste["bytes"], waste["fate"]) == ("/a", 1000, "replaced")
    assert layertool("wasted", "app", "--fail-above", "999").returncode == 1
    assert layertool("wasted", "app", "--fail-above", "1000").returncode == 0
    done = layertool("compare", "base", "app")
    assert (done.returncode, done.stdout) == (1, "C /a  +1000\n")
    assert layertool.ok("compare", "app", "app") == ""


def test_two_hundred_images_are_listed_at_once(layertool: Program) -> None:
    store = Store.open(layertool.room / "store")
    for number in range(200):
        put(store, make_image([BASE, {"own": b"%d" % number}]), f"image{number}")
    layertool.ok("images")
    best = min(_seconds(layertool) for _ in range(3))
    assert best < 0.6  # 0.16 s on an idle machine; tests may share theirs


def _seconds(layertool: Program) -> float:
    start = time.monotonic()
    assert len(layertool.ok("images").splitlines()) == 201
    return time.monotonic() - start
