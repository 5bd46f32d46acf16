"""Where credentials are found and kept: docker's and containers' files, helper programs."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layertool.errors import RegistryError
from layertool.transport.registry.credentials import (
    Credentials,
    find_credentials,
    remove_credentials,
    store_credentials,
)

HELPER = """#!/bin/sh
# A key ring for tests: one file a server below $KEYRING, requests on stdin as the protocol says.
read -r request
case "$1" in
get) file="$KEYRING/$(printf %s "$request" | tr / _)"
     [ -f "$file" ] && cat "$file" && exit 0
     echo "credentials not found in native keychain"; exit 1 ;;
store) server=$(printf %s "$request" | sed 's/.*"ServerURL": "\\([^"]*\\)".*/\\1/' | tr / _)
     printf %s "$request" > "$KEYRING/$server" ;;
erase) rm -f "$KEYRING/$(printf %s "$request" | tr / _)" ;;
esac
"""


class Home:
    """A home directory with credential files of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.docker = root / ".docker/config.json"
        self.config = root / ".config/containers/auth.json"
        self.runtime = root / "run/containers/auth.json"
        self.keyring = root / "keyring"
        self.keyring.mkdir()

    def write(self, path: Path, content: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))

    def helper(self, name: str, script: str = HELPER) -> None:
        program = self.root / "bin" / f"docker-credential-{name}"
        program.parent.mkdir(exist_ok=True)
        program.write_text(script)
        program.chmod(0o755)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("KEYRING", str(tmp_path / "keyring"))
    return Home(tmp_path)


def entry(user: str, password: str = "secret") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def user_of(found: Credentials | None) -> str | None:
    return found.username if found else None


@pytest.mark.parametrize(
    ("key", "domain", "repository", "found"),
    [
        ("reg.example", "reg.example", "app", True),
        ("https://reg.example", "reg.example", "app", True),
        ("https://reg.example/v1/", "reg.example", "app", True),
        ("http://reg.example/v2/", "reg.example", "app", True),
        ("reg.example:5000", "reg.example:5000", "app", True),
        ("reg.example", "reg.example:5000", "app", False),
        ("reg.example:5000", "reg.example", "app", False),
        ("reg.example", "evil-reg.example", "app", False),
        ("reg.example", "reg.example.evil", "app", False),
        ("https://index.docker.io/v1/", "docker.io", "library/debian", True),
        ("docker.io", "docker.io", "library/debian", True),
        ("index.docker.io", "docker.io", "library/debian", True),
        ("reg.example/team", "reg.example", "team/app", True),
        ("reg.example/team", "reg.example", "teammate/app", False),
        ("reg.example/team/app", "reg.example", "team/app", True),
        ("reg.example/team/app", "reg.example", "team", False),
    ],
)
def test_which_entry_fits(home: Home, key: str, domain: str, repository: str, found: bool) -> None:
    home.write(home.docker, {"auths": {key: entry("me")}})
    assert user_of(find_credentials(domain, repository)) == ("me" if found else None)


def test_the_most_specific_entry_wins(home: Home) -> None:
    auths = {"r.io": entry("all"), "r.io/team": entry("team"), "r.io/team/app": entry("app")}
    home.write(home.config, {"auths": auths})
    assert user_of(find_credentials("r.io", "team/app")) == "app"
    assert user_of(find_credentials("r.io", "team/app/sub")) == "app"
    assert user_of(find_credentials("r.io", "team/other")) == "team"
    assert user_of(find_credentials("r.io", "else")) == "all"


def test_files_are_asked_in_order(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_credentials("r.io") is None
    for path, user in [(home.docker, "docker"), (home.config, "config"), (home.runtime, "run")]:
        home.write(path, {"auths": {"r.io": entry(user)}})
        assert user_of(find_credentials("r.io")) == user
    alone = home.root / "alone.json"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(alone))
    assert find_credentials("r.io") is None
    home.write(alone, {"auths": {"r.io": entry("alone")}})
    assert user_of(find_credentials("r.io")) == "alone"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (entry("me", "a:b:c"), Credentials("me", "a:b:c")),
        (entry("me", "schön\0\0"), Credentials("me", "schön")),
        ({"username": "me", "password": "pw"}, Credentials("me", "pw")),
        ({"identitytoken": "T"}, Credentials(identity_token="T")),
        (entry("me") | {"identitytoken": "T"}, Credentials("me", "secret", "T")),
        ({"registrytoken": "R"}, Credentials(registry_token="R")),
        ({}, None),
        ({"auth": None}, None),
        ("nonsense", None),
    ],
)
def test_forms_of_an_entry(home: Home, content: Any, expected: Credentials | None) -> None:
    home.write(home.docker, {"auths": {"r.io": content}})
    assert find_credentials("r.io") == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not a credentials file"),
        ('{"auths": {"r.io": {"auth": "%%%"}}}', "not base64"),
        (" " * (1 << 20) + "{}", "not a credentials file"),
    ],
)
def test_a_damaged_file_is_named(home: Home, text: str, reason: str) -> None:
    home.docker.parent.mkdir()
    home.docker.write_text(text)
    with pytest.raises(RegistryError, match=f"{home.docker}.*{reason}"):
        find_credentials("r.io")


def test_secrets_are_not_in_repr() -> None:
    shown = repr(Credentials("me", "pass-secret", "id-secret", "reg-secret"))
    assert "secret" not in shown


def test_store_writes_a_private_file_that_keeps_the_rest(home: Home) -> None:
    home.write(home.docker, {"auths": {"other.io": entry("o")}, "HttpHeaders": {"X": "1"}})
    home.docker.chmod(0o644)
    assert store_credentials("r.io", Credentials("me", "pw")) == home.docker
    assert stat.S_IMODE(home.docker.stat().st_mode) == 0o600
    content = json.loads(home.docker.read_text())
    assert content["HttpHeaders"] == {"X": "1"}
    assert content["auths"] == {"other.io": entry("o"), "r.io": entry("me", "pw")}
    assert [path.name for path in home.docker.parent.iterdir()] == ["config.json"]


def test_store_makes_the_file_and_a_private_directory(home: Home) -> None:
    store_credentials("r.io", Credentials("me", "pw"))
    assert stat.S_IMODE(home.docker.parent.stat().st_mode) == 0o700
    assert find_credentials("r.io") == Credentials("me", "pw")


def test_docker_hub_is_kept_under_its_own_key(home: Home) -> None:
    store_credentials("docker.io", Credentials("me", "pw"))
    assert list(json.loads(home.docker.read_text())["auths"]) == ["https://index.docker.io/v1/"]
    assert find_credentials("docker.io", "library/debian") == Credentials("me", "pw")


def test_store_replaces_the_entry_where_it_is(home: Home) -> None:
    home.write(home.runtime, {"auths": {"https://r.io/v1/": entry("old")}})
    assert store_credentials("r.io", Credentials("new", "pw")) == home.runtime
    assert json.loads(home.runtime.read_text())["auths"] == {"r.io": entry("new", "pw")}
    assert not home.docker.exists()


def test_a_symlinked_file_stays_a_symlink(home: Home) -> None:
    real = home.root / "dotfiles/config.json"
    home.write(real, {})
    home.docker.parent.mkdir()
    home.docker.symlink_to(real)
    store_credentials("r.io", Credentials("me", "pw"))
    assert home.docker.is_symlink()
    assert "r.io" in json.loads(real.read_text())["auths"]


def test_logins_at_once_lose_nothing(home: Home) -> None:
    def login(number: int) -> None:
        store_credentials(f"r{number}.io", Credentials("me", "pw"))

    threads = [threading.Thread(target=login, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(home.docker.read_text())["auths"]) == 8


def test_remove_forgets_everywhere(home: Home) -> None:
    home.write(home.docker, {"auths": {"r.io": entry("a"), "other.io": entry("b")}})
    home.write(home.runtime, {"auths": {"https://r.io": entry("c")}})
    assert remove_credentials("r.io") == [home.runtime, home.docker]
    assert find_credentials("r.io") is None
    assert user_of(find_credentials("other.io")) == "b"
    assert remove_credentials("r.io") == []


@pytest.mark.parametrize("setting", [{"credsStore": "ring"}, {"credHelpers": {"r.io": "ring"}}])
def test_helper_life(home: Home, setting: dict[str, Any]) -> None:
    home.helper("ring")
    home.write(home.docker, setting)
    assert find_credentials("r.io", "team/app") is None
    store_credentials("r.io", Credentials("me", "pw"))
    assert "pw" not in home.docker.read_text()
    assert find_credentials("r.io", "team/app") == Credentials("me", "pw")
    assert remove_credentials("r.io") == [home.docker]
    assert find_credentials("r.io") is None
    assert list(home.keyring.iterdir()) == []


def test_helper_gives_an_identity_token(home: Home) -> None:
    home.helper("ring")
    home.write(home.docker, {"credsStore": "ring"})
    answer = {"ServerURL": "r.io", "Username": "<token>", "Secret": "T"}
    (home.keyring / "r.io").write_text(json.dumps(answer))
    assert find_credentials("r.io") == Credentials(identity_token="T")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda home: None, "not found; install it"),
        (lambda home: home.helper("ring", "#!/bin/sh\necho broken; exit 3\n"), "broken"),
        (lambda home: home.helper("ring", "#!/bin/sh\necho '[]'\n"), "not what get gives"),
    ],
)
def test_a_helper_that_fails_is_named(
    home: Home, prepare: Callable[[Home], None], reason: str
) -> None:
    prepare(home)
    home.write(home.docker, {"credsStore": "ring"})
    with pytest.raises(RegistryError, match=f"docker-credential-ring: .*{reason}"):
        find_credentials("r.io")


@pytest.mark.parametrize("name", ["../../bin/sh", "a b", "x;reboot", ""])
def test_a_helper_name_is_no_path(home: Home, name: str) -> None:
    home.write(home.docker, {"credHelpers": {"r.io": name}})
    if name:
        with pytest.raises(RegistryError, match="not the name of a credential helper"):
            find_credentials("r.io")
    else:
        assert find_credentials("r.io") is None
