"""User names and passwords for registries: docker's and containers' files, and helper programs.

Files, in the order they are asked (containers-auth.json(5), docker login's documentation):
$REGISTRY_AUTH_FILE alone when it is set; else $XDG_RUNTIME_DIR/containers/auth.json (as root
/run/containers/0/auth.json), $XDG_CONFIG_HOME/containers/auth.json, $DOCKER_CONFIG/config.json.
All have one form: `auths` with base64 of user:password, `credHelpers` and `credsStore` with the
names of docker-credential-NAME programs. What we do not know in a file is kept.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layertool.errors import RegistryError
from layertool.transport.registry.endpoint import DOCKER_HUB, printable

_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_FILE_LIMIT = 1 << 20
_HELPER_TIMEOUT = 60.0  # seconds; a helper may ask its user to unlock a key ring
_HELPER_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TOKEN_USER = "<token>"  # the helper protocol's way to say that the secret is an identity token
_NOT_FOUND = "credentials not found"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a registry or its token server may ask for; secrets stay out of repr()."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str | None = field(default=None, repr=False)
    registry_token: str | None = field(default=None, repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


class AuthFile:
    """One credential file; missing means empty."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, domain: str, repository: str) -> Credentials | None:
        """Credentials for a repository of a registry, the most specific entry first.

        Raises RegistryError for a file or helper that does not work: going on without credentials
        would end in an error about the registry, far from the cause.
        """
        content = self._load()
        for key in _keys(domain, repository):
            found = self._find_key(content, key)
            if found is not None:
                return found
        return None

    def has(self, domain: str) -> bool:
        """Whether the file itself has an entry, or names a helper, for the registry."""
        content = self._load()
        listed = _section(content, "auths") | _section(content, "credHelpers")
        return any(_normal(key) == domain for key in listed)

    def put(self, domain: str, credentials: Credentials) -> None:
        """Keep credentials, in the helper that the file names for the registry or in the file."""
        with self._locked():
            content = self._load()
            key = _stored_key(domain)
            helper = _helper(content, key)
            if helper:
                secret = credentials.identity_token or credentials.password
                user = _TOKEN_USER if credentials.identity_token else credentials.username
                request = {"ServerURL": key, "Username": user, "Secret": secret}
                _run_helper(helper, "store", json.dumps(request))
                entry: dict[str, Any] = {}  # docker leaves an empty entry as a note of the login
            else:
                pair = f"{credentials.username}:{credentials.password}".encode()
                entry = {"auth": base64.b64encode(pair).decode()}
            auths = {k: v for k, v in _section(content, "auths").items() if _normal(k) != domain}
            content["auths"] = auths | {key: entry}
            self._save(content)

    def remove(self, domain: str) -> bool:
        """Forget the registry; whether there was anything to forget."""
        if not self.path.exists():
            return False
        with self._locked():
            content = self._load()
            key = _stored_key(domain)
            helper = _helper(content, key)
            erased = helper is not None and self._find_key(content, key) is not None
            if erased and helper is not None:
                _run_helper(helper, "erase", key)
            auths = _section(content, "auths")
            kept = {k: v for k, v in auths.items() if _normal(k) != domain}
            if len(kept) != len(auths):
                content["auths"] = kept
                self._save(content)
        return erased or len(kept) != len(auths)

    def _find_key(self, content: dict[str, Any], key: str) -> Credentials | None:
        helper = _helper(content, key)
        if helper:
            found = _ask_helper(helper, key)
            if found is not None:
                return found
        for name, entry in _section(content, "auths").items():
            if _normal(name) == _normal(key) and isinstance(entry, dict):
                return self._decode(name, entry)
        return None

    def _decode(self, name: str, entry: dict[str, Any]) -> Credentials | None:
        username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
        if entry.get("auth"):
            try:
                pair = base64.b64decode(str(entry["auth"]), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise RegistryError(
                    f"{self.path}: the entry for {printable(name)} is not base64 of user:password; "
                    "run layertool login again"
                ) from error
            username, _, password = pair.partition(":")
            password = password.strip("\0")  # old docker clients padded
        identity, registry = entry.get("identitytoken"), entry.get("registrytoken")
        if not (username or identity or registry):
            return None
        return Credentials(
            username,
            password,
            str(identity) if identity else None,
            str(registry) if registry else None,
        )

    def _load(self) -> dict[str, Any]:
        try:
            with self.path.open("rb") as file:
                raw = file.read(_FILE_LIMIT + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise RegistryError(
                f"{self.path}: cannot read credentials: {error.strerror}"
            ) from error
        try:
            content = json.loads(raw) if raw.strip() and len(raw) <= _FILE_LIMIT else None
        except ValueError as error:
            raise RegistryError(f"{self.path}: not JSON ({error}); repair or remove it") from error
        if raw.strip() and not isinstance(content, dict):
            raise RegistryError(f"{self.path}: not a credentials file; repair or remove it")
        return content or {}

    def _save(self, content: dict[str, Any]) -> None:
        """Replace the file in one step, readable by its owner alone."""
        # A symlinked config.json (dotfile managers make those) stays a symlink.
        target = self.path.resolve()
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "w") as file:  # mkstemp made it 0600
                json.dump(content, file, indent="\t")
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time: two logins at once must not lose one another's entry."""
        directory = self.path.resolve().parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise RegistryError(
                f"{directory}: cannot keep credentials: {error.strerror}"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise RegistryError(f"{self.path}: cannot write: {error.strerror}") from error
        finally:
            os.close(handle)


def auth_files() -> list[AuthFile]:
    """The files that may hold credentials, the one asked first in front."""
    if chosen := os.environ.get("REGISTRY_AUTH_FILE"):
        return [AuthFile(Path(chosen))]
    home = Path.home()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    run_dir = Path(runtime) if runtime else Path("/run")
    tail = Path("containers") if runtime else Path("containers") / str(os.getuid())
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return [
        AuthFile(run_dir / tail / "auth.json"),
        AuthFile(config_home / "containers/auth.json"),
        _docker_file(),
    ]


def find_credentials(domain: str, repository: str = "") -> Credentials | None:
    """The credentials to use for `domain/repository`, None for an anonymous visit."""
    for file in auth_files():
        found = file.find(domain, repository)
        if found is not None:
            return found
    return None


def store_credentials(domain: str, credentials: Credentials) -> Path:
    """Keep credentials and return the file that has them (or names their helper).

    An entry is replaced where it is, because the file that is asked first wins. A new one goes to
    docker's file, which docker, podman and skopeo read too and which survives a reboot.
    """
    files = auth_files()
    file = next((file for file in files if file.has(domain)), files[-1])
    file.put(domain, credentials)
    return file.path


def remove_credentials(domain: str) -> list[Path]:
    """Forget a registry everywhere; the files that knew it."""
    return [file.path for file in auth_files() if file.remove(domain)]


def _docker_file() -> AuthFile:
    directory = os.environ.get("DOCKER_CONFIG")
    return AuthFile((Path(directory) if directory else Path.home() / ".docker") / "config.json")


def _keys(domain: str, repository: str) -> Iterator[str]:
    """Entry names that cover a repository: itself, each parent path, the registry."""
    parts = repository.split("/") if repository else []
    for length in range(len(parts), 0, -1):
        yield "/".join([domain, *parts[:length]])
    yield _stored_key(domain)


def _stored_key(domain: str) -> str:
    return _DOCKER_HUB_KEY if domain == DOCKER_HUB else domain


def _normal(key: str) -> str:
    """An entry's name without what old docker versions wrote around it: scheme, /v1/, /v2/."""
    bare = re.sub(r"^https?://", "", key)
    bare = re.sub(r"/v[12]/?$", "", bare).rstrip("/")
    host, slash, path = bare.partition("/")
    return (
        (DOCKER_HUB if host in ("index.docker.io", "registry-1.docker.io") else host) + slash + path
    )


def _section(content: dict[str, Any], name: str) -> dict[str, Any]:
    section = content.get(name)
    return section if isinstance(section, dict) else {}


def _helper(content: dict[str, Any], key: str) -> str | None:
    """The helper program's name for an entry: its own, or the one for all registries."""
    for name, helper in _section(content, "credHelpers").items():
        if _normal(name) == _normal(key):
            return str(helper)
    # credsStore knows registries, not paths in them: asking for each path would start it each time
    store = content.get("credsStore")
    return str(store) if store and "/" not in _normal(key) else None


def _ask_helper(helper: str, key: str) -> Credentials | None:
    output = _run_helper(helper, "get", key)
    if output is None:
        return None
    try:
        answer = json.loads(output)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryError(
            f"docker-credential-{helper}: its answer is not what get gives"
        ) from error
    if username == _TOKEN_USER:
        return Credentials(identity_token=secret)
    return Credentials(username, secret)


def _run_helper(helper: str, verb: str, request: str) -> str | None:
    """The output of a helper program; None when it says that it has no such credentials."""
    if not _HELPER_NAME.fullmatch(helper):
        raise RegistryError(f"{printable(helper)}: not the name of a credential helper")
    program = f"docker-credential-{helper}"
    try:
        # The request goes in on stdin: nothing secret is ever an argument.
        done = subprocess.run(
            [program, verb],
            input=request,
            capture_output=True,
            text=True,
            timeout=_HELPER_TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise RegistryError(
            f"{program}: not found; install it or take it out of the credentials file"
        ) from error
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise RegistryError(f"{program}: {printable(str(error))}") from error
    if done.returncode == 0:
        return done.stdout
    if _NOT_FOUND in done.stdout + done.stderr:
        return None
    raise RegistryError(f"{program}: {printable(done.stdout + done.stderr)}")
