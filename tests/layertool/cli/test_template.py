"""`inspect --format`: the part of Go's templates that people use."""

from __future__ import annotations

import pytest

from layertool.cli.template import render
from layertool.errors import LayertoolError, UsageError

VALUE = {
    "Id": "abc",
    "Size": 12,
    "Config": {
        "Env": ["A=1", "B=2"],
        "Labels": {"z": "last", "a.b": "dotted"},
        "Tty": False,
        "Entrypoint": None,
    },
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{.Id}}", "abc"),
        ("{{ .Id }}={{.Size}}!", "abc=12!"),
        ("{{.Config.Env}}", "[A=1 B=2]"),
        ("{{.Config.Labels}}", "map[a.b:dotted z:last]"),
        ("{{.Config.Tty}}", "false"),
        ("{{.Config.Entrypoint}}", "<no value>"),
        ("{{json .Config.Env}}", '["A=1","B=2"]'),
        ("{{json .Config.Entrypoint}}", "null"),
        ('{{index .Config.Labels "a.b"}}', "dotted"),
        ('{{index .Config.Labels "none"}}', ""),
        ('{{index .Config.Entrypoint "none"}}', ""),
        ("{{index .Config.Env 1}}", "B=2"),
        ('{{index . "Config" "Env" 0}}', "A=1"),
    ],
)
def test_values(template: str, text: str) -> None:
    assert render(template, VALUE) == text


def test_all_of_it() -> None:
    assert render("{{json .}}", {"a": [1, None]}) == '{"a":[1,null]}'


@pytest.mark.parametrize(
    ("template", "error", "message"),
    [
        ("{{.Config.Nothing}}", LayertoolError, "there is no Nothing; there is: Env, Labels"),
        ("{{.Id.More}}", LayertoolError, "there is no More"),
        ("{{index .Config.Env 2}}", LayertoolError, "there are 2 elements"),
        ("{{index .Id 0}}", LayertoolError, "cannot be indexed"),
        ("{{index .Config.Labels a}}", UsageError, "are known"),
        ("{{range .Config.Env}}{{.}}{{end}}", UsageError, "jq"),
        ("{{.Id | printf}}", UsageError, "are known"),
        ("{{}}", UsageError, "are known"),
        ("{{.Id", UsageError, "without its partner"),
        (".Id}}", UsageError, "without its partner"),
        ("{{Id}}", UsageError, "are known"),
    ],
)
def test_errors(template: str, error: type[LayertoolError], message: str) -> None:
    with pytest.raises(error) as raised:
        render(template, VALUE)
    assert message in str(raised.value)
    assert type(raised.value) is error
