"""The command line: what is asked for in a wrong way is said at once, in words that name it, without a traceback."""

import asyncio
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from relay_operator import main
from relay_operator.commands import command_line
from relay_operator.errors import OperatorError, SettingsUnusable
from relay_operator.settings import Settings


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        command_line.parse(["--version"])
    assert exited.value.code == 0
    assert capsys.readouterr().out == f"relay-operator {command_line.version()}\n"


def test_the_help_names_every_setting_with_its_default_and_effect(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exited:
        command_line.parse(["--help"])
    assert exited.value.code == 0
    said = capsys.readouterr().out
    for name, field in Settings.model_fields.items():
        variable = field.validation_alias or f"OPERATOR_{name.upper()}"
        assert f"  {variable}={field.default}\n      " in said
        # by what can be set, not by what the code calls it
        assert "_" not in name or re.search(rf"\b{name}\b", said) is None
    assert f"\n      {Settings.model_fields['workers'].description}\n" in said
    assert "      client certificate, with OPERATOR_PROMETHEUS_KEY_FILE\n" in said


@pytest.mark.parametrize("arguments", [["relaese"], ["--verbose"], ["crds"], ["crds", "a", "b"]])
def test_what_is_no_command_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        command_line.parse(arguments)
    assert exited.value.code == command_line.WRONGLY_CALLED
    assert capsys.readouterr().err.startswith("usage: relay-operator")


def test_without_a_command_it_operates() -> None:
    assert command_line.parse([]) is None


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"WORKERS": "0"}, ["OPERATOR_WORKERS: Input should be greater than or equal to 1"]),
        ({"PROMETHEUS_HEADERS": "x"}, ["OPERATOR_PROMETHEUS_HEADERS: its value is no JSON"]),
        (
            {"PROMETHEUS_HEADERS": '{"a b": "c"}'},
            ["OPERATOR_PROMETHEUS_HEADERS.a b.[key]: String should match pattern"],
        ),
        (
            {"PROMETHEUS_KEY_FILE": "/tls.key"},
            [
                "the settings: OPERATOR_PROMETHEUS_CERTIFICATE_FILE and OPERATOR_PROMETHEUS_KEY_FILE are used together"
            ],
        ),
        (
            {"POD_IPS": "me", "LEASE_SECONDS": "1"},
            ["OPERATOR_POD_IPS: 'me' does not appear", "OPERATOR_LEASE_SECONDS: Input should be"],
        ),
    ],
)
def test_every_setting_that_cannot_be_used_is_named(
    variables: dict[str, str], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"OPERATOR_{name}", value)
    with pytest.raises(SettingsUnusable) as refused:
        command_line.settings()
    assert [line for line in said if line not in str(refused.value)] == []


def test_a_secret_in_a_wrong_setting_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERATOR_PROMETHEUS_URL", "http://relay:s3cret@prometheus")
    with pytest.raises(SettingsUnusable, match="must hold no credentials") as refused:
        command_line.settings()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OPERATOR_WORKERS", "many", "OPERATOR_WORKERS: Input should be a valid integer"),
        ("OPERATOR_TIERS_FILE", "/nowhere/tiers.json", "correct the chart's value tiers"),
        ("OPERATOR_SHARD", "premium", "premium"),
    ],
)
def test_the_operator_says_in_one_line_why_it_cannot_start(
    variable: str,
    value: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr("sys.argv", ["relay-operator"])
    with pytest.raises(SystemExit) as exited:
        main.main()
    assert exited.value.code == command_line.WRONGLY_CALLED
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("relay-operator cannot start: ")
    assert said in line


def test_variables_that_look_like_settings_and_are_none_are_known() -> None:
    environment = {"OPERATOR_WORKERS": "8", "OPERATOR_WORKRES": "9", "KUBERNETES_SERVICE_HOST": ""}
    assert command_line.unknown(environment) == ["OPERATOR_WORKRES"]


def test_a_command_that_fails_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    async def fails() -> int:
        raise OperatorError("the API server cannot be reached")

    def command() -> Coroutine[Any, Any, int]:
        return fails()

    assert command_line.execute(command) == command_line.NOT_DONE
    assert capsys.readouterr().err == "not done: the API server cannot be reached\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a list",
        "{",
        "current-context: none\nclusters: []\nusers: []\ncontexts: []\n",
        "clusters: 3\ncurrent-context: a\ncontexts: 4\n",
    ],
)
def test_a_kubeconfig_that_is_none_is_said_to_be(
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(text)
    # the library has read the variable when it was imported
    place = "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
    monkeypatch.setattr(place, str(kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    command = command_line.parse(["release"])
    assert command is not None
    assert command_line.execute(command) == command_line.NOT_DONE
    assert "not done: no API server is known: this is no pod" in capsys.readouterr().err


def test_commands_are_coroutines_of_their_own() -> None:
    command = command_line.parse(["crds", "/nowhere"])
    assert command is not None
    with pytest.raises(OperatorError, match="no definition in /nowhere"):
        asyncio.run(command())
