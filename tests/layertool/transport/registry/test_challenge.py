"""WWW-Authenticate headers as real and hostile servers write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertool.transport.registry.challenge import Challenge, parse_challenges

HUB = (
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
    'scope="repository:library/debian:pull"'
)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["Basic realm=x"], [("basic", {"realm": "x"})]),
        (['BASIC Realm="a b"'], [("basic", {"realm": "a b"})]),
        (
            [HUB],
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:library/debian:pull",
                    },
                )
            ],
        ),
        # a comma inside quotes separates nothing
        (
            ['Bearer realm="https://r/t",scope="repository:a:pull,push"'],
            [("bearer", {"realm": "https://r/t", "scope": "repository:a:pull,push"})],
        ),
        # several challenges in one header, and in several
        (
            ['Bearer realm="https://r/t", Basic realm="b"'],
            [("bearer", {"realm": "https://r/t"}), ("basic", {"realm": "b"})],
        ),
        (["Negotiate", "Basic realm=b"], [("negotiate", {}), ("basic", {"realm": "b"})]),
        # token68 of other schemes is no parameter
        (["NTLM TlRMTVNTUAAB==, Basic realm=b"], [("ntlm", {}), ("basic", {"realm": "b"})]),
        # escapes, spaces around =, an unquoted URL, empty list members
        ([r'Basic realm="a\"b\\c"'], [("basic", {"realm": 'a"b\\c'})]),
        (['Basic realm = "x" , charset = UTF-8'], [("basic", {"realm": "x", "charset": "UTF-8"})]),
        (["Bearer realm=https://r/t?a=b"], [("bearer", {"realm": "https://r/t?a=b"})]),
        ([", ,Basic realm=x,,"], [("basic", {"realm": "x"})]),
        # the first of a repeated parameter counts
        (['Bearer realm="https://a",realm="https://b"'], [("bearer", {"realm": "https://a"})]),
        # nonsense gives what was before it
        (['Basic realm="x", "junk'], [("basic", {"realm": "x"})]),
        ([""], []),
        ([], []),
    ],
)
def test_parse(headers: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(headers) == [Challenge(*pair) for pair in expected]


def test_scopes_are_split_at_spaces() -> None:
    [challenge] = parse_challenges(['Bearer scope="repository:a:pull repository:b:pull,push"'])
    assert challenge.scopes == ["repository:a:pull", "repository:b:pull,push"]


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(max_size=20)))
def test_quoted_values_come_back(parameters: dict[str, str]) -> None:
    quoted = {k: v.replace("\\", r"\\").replace('"', r"\"") for k, v in parameters.items()}
    header = "Bearer " + ", ".join(f'{k}="{v}"' for k, v in quoted.items())
    parsed = parse_challenges([header])
    assert parsed[0] == Challenge("bearer", parameters)


@given(st.text())
def test_any_text_is_survived(header: str) -> None:
    parse_challenges([header])
