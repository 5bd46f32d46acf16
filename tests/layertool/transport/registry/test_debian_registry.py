"""The client against a real registry, open and with a password file."""

from __future__ import annotations

import pytest
from registrytest.debian import PASSWORD, USER, RunningRegistry
from registrytest.options import quick_options

from layertool.errors import NotFound
from layertool.transport.registry.auth import AuthError
from layertool.transport.registry.client import Client
from layertool.transport.registry.credentials import Credentials


def test_open(registry: RunningRegistry) -> None:
    client = Client(registry.domain, "none", quick_options())
    client.check_login()
    with pytest.raises(NotFound, match=r"none:1: not found on .*MANIFEST_UNKNOWN"):
        client.call("GET", "/v2/none/manifests/1", what="none:1")


def test_password(guarded: RunningRegistry) -> None:
    Client(guarded.domain, "", quick_options(Credentials(USER, PASSWORD))).check_login()
    for wrong in (None, Credentials(USER, "wrong"), Credentials("nobody", PASSWORD)):
        with pytest.raises(AuthError, match="access denied"):
            Client(guarded.domain, "", quick_options(wrong)).check_login()
