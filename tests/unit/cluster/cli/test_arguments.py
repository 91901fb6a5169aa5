"""The command line is kind's: commands of pytest-kind and scripts are understood."""

import pytest
from tests.cluster.cli import commands
from tests.cluster.cli.arguments import parse, parse_duration

PYTEST_KIND = [
    ["get", "clusters"],
    ["create", "cluster", "--name=a", "--kubeconfig=f", "--image=kindest/node:v1"],
    ["create", "cluster", "--name=a", "--kubeconfig=f", "--config", "c.yaml"],
    ["delete", "cluster", "--name=a", "--kubeconfig=f"],
    ["load", "docker-image", "--name", "a", "app:dev"],
]
PEOPLE = [
    ["version"],
    ["create", "cluster", "--wait", "5m", "--retain", "-q"],
    ["create", "cluster", "-n", "a", "-v", "1"],
    ["-q", "delete", "cluster"],
    ["delete", "clusters", "--all"],
    ["delete", "clusters", "a", "b"],
    ["get", "nodes", "--all-clusters"],
    ["get", "kubeconfig", "--internal"],
    ["export", "kubeconfig"],
    ["export", "logs", "/tmp/logs", "--name", "a"],
    ["load", "docker-image", "one", "two", "--nodes", "a-control-plane"],
    ["load", "image-archive", "image.tar"],
]
OURS = [
    ["build", "binaries"],
    ["build", "images", "busybox:dev", "--output", "out"],
    ["component", "stop", "a", "kubelet"],
    ["component", "list", "a"],
    ["logs", "a", "etcd"],
    ["exec", "a", "ctr", "images", "list", "-q"],
    ["doctor"],
]


@pytest.mark.parametrize("argv", [*PYTEST_KIND, *PEOPLE, *OURS], ids=" ".join)
def test_every_command_line_leads_to_a_command(argv: list[str]) -> None:
    options = parse(argv, {})
    assert (options.verb, getattr(options, "noun", None)) in commands.COMMANDS


def test_every_command_can_be_reached() -> None:
    reached = {
        (options.verb, getattr(options, "noun", None))
        for options in (parse(argv, {}) for argv in [*PYTEST_KIND, *PEOPLE, *OURS])
    }
    siblings = {("component", "start"), ("component", "kill")}
    assert reached | siblings == set(commands.COMMANDS)


def test_the_default_name_is_that_of_kind_or_of_the_environment() -> None:
    assert parse(["create", "cluster"], {}).name == "kind"
    assert parse(["create", "cluster"], {"KIND_CLUSTER_NAME": "mine"}).name == "mine"
    assert parse(["create", "cluster", "--name=x"], {"KIND_CLUSTER_NAME": "mine"}).name == "x"


@pytest.mark.parametrize("position", ["before", "after"])
def test_quiet_is_taken_before_and_after_the_command(position: str) -> None:
    argv = ["-q", "get", "clusters"] if position == "before" else ["get", "clusters", "-q"]
    assert parse(argv, {}).quiet is True
    assert parse(["get", "clusters"], {}).quiet is False


@pytest.mark.parametrize(
    "argv",
    [["frobnicate"], ["create"], ["create", "cluster", "--nope"], ["load", "docker-image"]],
    ids=" ".join,
)
def test_a_wrong_command_line_exits_with_kinds_code(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        parse(argv, {})
    assert leaving.value.code == 1
    assert "usage:" in capsys.readouterr().err


def test_abbreviated_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["create", "cluster", "--kube=f"], {})
    assert "--kube" in capsys.readouterr().err


def test_the_version_is_printed_as_kind_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        parse(["--version"], {})
    assert leaving.value.code == 0
    assert capsys.readouterr().out.startswith("kind version ")


def test_options_after_exec_belong_to_the_command_on_the_node() -> None:
    options = parse(["exec", "a", "ls", "--name", "-q"], {})
    assert options.argv == ["ls", "--name", "-q"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0s", 0), ("90s", 90), ("5m", 300), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25)],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5s", "5s!", "1d"])
def test_a_malformed_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
