"""The plugin as a person runs it, with a kubectl that answers from a file: what it prints, what it writes, how it fails."""

import base64
import itertools
import json
import os
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from tests.unit.kubectl_relay.scenes import played
from tests.unit.relay_operator.virtual_time import in_virtual_time

from kubectl_relay.arguments import COMMANDS
from kubectl_relay.main import main
from relay_operator.names import ANNOTATION_RETRY

API = "/apis/relay-operator.dev/v1alpha1"
TENANT = f"{API}/tenants/finance"
ROUTE = f"{API}/namespaces/relay-finance/relayroutes/chat"
SECRET = "/api/v1/namespaces/relay-finance/secrets/relay-api-keys"
KEY = "sk-relay-finance-planted"


class Machine:
    """A user's machine: kubectl on PATH, and a cluster as a file."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._scene = directory / "scene.json"
        program = directory / "kubectl"
        stand_in = Path(__file__).with_name("kubectl_stand_in.py")
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{stand_in}" "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        monkeypatch.setenv("STAND_IN", str(self._scene))
        monkeypatch.setenv("COLUMNS", "100")

    def holds(self, **scene: Any) -> None:
        self._scene.write_text(json.dumps({"objects": {}} | scene))

    @property
    def written(self) -> list[list[str]]:
        found: list[list[str]] = json.loads(self._scene.read_text()).get("patches", [])
        return found

    @property
    def options(self) -> list[str]:
        found: list[str] = json.loads(self._scene.read_text()).get("options", [])
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def objects(story: str) -> dict[str, Any]:
    """Returns the objects of a story by their paths."""

    @in_virtual_time
    async def play() -> None:
        told = await played(story)
        found.update({TENANT: told.tenant, ROUTE: told.route})
        found.update({f"{API}/providers/{one['metadata']['name']}": one for one in told.providers})

    found: dict[str, Any] = {}
    play()
    secret = {"default": KEY, "default.previous": f"{KEY}-before"}
    data = {name: base64.b64encode(value.encode()).decode() for name, value in secret.items()}
    return found | {SECRET: {"metadata": {"name": "relay-api-keys"}, "data": data}}


def elsewhere(body: dict[str, Any], tenant: str) -> tuple[str, dict[str, Any]]:
    """Returns the same route in another tenant's namespace."""
    other = deepcopy(body)
    other["metadata"]["namespace"] = f"relay-{tenant}"
    return f"{API}/namespaces/relay-{tenant}/relayroutes/chat", other


Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "finance"],
        ["status"],
        ["status", "-n", "relay-finance"],
        ["why", "chat"],
        ["plan", "finance/chat"],
        ["keys", "finance"],
        ["why", "chat", "-t", "finance"],
    ],
)
def test_a_command_prints_lines_for_people_and_json_for_machines(
    machine: Machine, capsys: Capture, arguments: list[str]
) -> None:
    machine.holds(objects=objects("climbing"))
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "finance" in text
    assert "\033" not in text
    assert main([*arguments, "-o", "json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)
    assert machine.written == []


DATA: dict[str, tuple[str, list[str], str]] = {
    "status": ("climbing", ["finance"], "routes"),
    "why": ("climbing", ["chat"], "moves"),
    "plan": ("climbing", ["chat"], "steps"),
    "approve": ("awaiting approval", ["chat"], "written"),
    "retry": ("rolled back", ["chat"], "written"),
    "pause": ("climbing", ["chat"], "written"),
    "resume": ("paused", ["chat"], "written"),
    "back": ("climbing", ["chat"], "written"),
    "keys": ("climbing", ["finance"], "keys"),
    "probe": ("climbing", ["finance"], "checks"),
}
"""Of each command: a story in which it has something to do, what it is given, and a field of what it prints for machines."""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_prints_one_object_for_machines_and_the_same_for_people(
    machine: Machine, capsys: Capture, command: str
) -> None:
    story, target, field = DATA[command]
    machine.holds(objects=objects(story))
    # this kubectl forwards no port, so a probe has found something wrong
    ended = 1 if command == "probe" else 0
    assert main([command, *target, "-o", "json"]) == ended
    data = json.loads(capsys.readouterr().out)
    assert field in data
    assert data.get("written", True) is True
    machine.holds(objects=objects(story))
    assert main([command, *target]) == ended
    text = capsys.readouterr().out
    assert text.strip()
    assert text[0] != "{"


def test_a_key_is_printed_only_where_it_is_asked_for(machine: Machine, capsys: Capture) -> None:
    machine.holds(objects=objects("climbing"))
    for arguments in (["keys", "finance"], ["keys", "finance", "-o", "json"], ["status"]):
        assert main(arguments) == 0
        assert KEY not in capsys.readouterr().out
    assert main(["keys", "finance", "--show", "default"]) == 0
    assert capsys.readouterr().out == f"{KEY}\n"
    assert main(["keys", "finance", "--show", "absent"]) == 1
    assert "there are default, default.previous" in capsys.readouterr().err


def test_people_of_a_tenant_see_what_they_may_read(machine: Machine, capsys: Capture) -> None:
    refused = [f"{API}/tenants", TENANT, f"{API}/providers", f"{API}/relayroutes"]
    machine.holds(objects=objects("climbing"), refused=refused, namespace="relay-finance")
    for arguments in (["status"], ["status", "finance"]):
        assert main(arguments) == 0
        told = capsys.readouterr().out
        assert "chat  Progressing" in told
        assert "you have no right to read Tenant finance" in told
    assert main(["keys"]) == 0
    assert "key       default\n" in capsys.readouterr().out
    assert main(["why", "chat"]) == 0


def test_a_change_is_written_as_gitops_would(machine: Machine, capsys: Capture) -> None:
    machine.holds(objects=objects("rolled back"))
    assert main(["retry", "chat", "--force", "--context=prod", "--as=ann"]) == 0
    told = capsys.readouterr().out
    (written,) = machine.written
    patch = json.loads(written[written.index("-p") + 1])
    value = patch["metadata"]["annotations"][ANNOTATION_RETRY]
    assert value.endswith("/1/force")
    assert written[:4] == ["relayroutes.relay-operator.dev", "chat", "-n", "relay-finance"]
    assert machine.options[:2] == ["--context=prod", "--as=ann"]
    assert value in told
    assert "the same change in Git" in told


def test_a_dry_run_says_so_to_the_api_server(machine: Machine, capsys: Capture) -> None:
    machine.holds(objects=objects("climbing"))
    assert main(["back", "chat", "--dry-run", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] is False
    assert "--dry-run=server" in machine.written[0]


def test_what_is_so_already_is_not_written_again(machine: Machine, capsys: Capture) -> None:
    machine.holds(objects=objects("paused"))
    assert main(["pause", "chat"]) == 0
    assert "is paused already" in capsys.readouterr().out
    assert machine.written == []


def test_what_the_operator_has_not_looked_at_is_said_to_be_so(
    machine: Machine, capsys: Capture
) -> None:
    found = objects("climbing")
    found[ROUTE]["metadata"]["generation"] += 1
    found[ROUTE]["spec"]["canary"]["percent"] = 0
    machine.holds(objects=found)
    weight = found[ROUTE]["status"]["weights"]["canaryPercent"]
    assert weight
    assert main(["back", "chat"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"asks for no weight of the canary already, which still has {weight} %" in told
    assert "the operator has not looked at the newest spec yet" in told
    for command in ("why", "pause"):
        assert main([command, "chat"]) == 0
        assert "the operator has not looked at the newest spec yet" in capsys.readouterr().out


def test_a_route_that_two_namespaces_have_is_asked_for_by_name(
    machine: Machine, capsys: Capture
) -> None:
    found = objects("climbing")
    path, other = elsewhere(found[ROUTE], "research")
    machine.holds(objects=found | {path: other}, namespace="default")
    assert main(["why", "chat"]) == 1
    said = capsys.readouterr().err
    assert "2 namespaces have a RelayRoute chat: relay-finance, relay-research" in said
    assert main(["why", "research/chat"]) == 0
    assert "(relay-research)" in capsys.readouterr().out
    # the current namespace decides, as it does for kubectl
    machine.holds(objects=found | {path: other}, namespace="relay-finance")
    assert main(["why", "chat"]) == 0
    assert "(relay-finance)" in capsys.readouterr().out


FAILURES: list[tuple[list[str], dict[str, Any], str]] = [
    (["status", "absent"], {}, "there is no Tenant absent; there are finance"),
    (["why", "absent"], {}, "there is no RelayRoute absent in any namespace"),
    (["why", "absent", "-t", "finance"], {}, "there is no RelayRoute absent in namespace relay-finance; there are chat"),
    (["why", "chat", "-t", "a", "-n", "relay-b"], {}, "are two places"),
    (["keys"], {"namespace": "default"}, "which tenant? Name it"),
    (["keys", "finance", "--show", "default"], {"refused": [SECRET]}, "you have no right to read Secret relay-api-keys"),
    (["why", "chat", "-n", "relay-finance"], {"refused": [ROUTE]}, "you have no right to read RelayRoute chat in relay-finance"),
    (["status"], {"broken": "Error from server (NotFound): the server could not find the requested resource"}, "the relay-operator is not installed there"),
    (["status"], {"broken": "error: the server doesn't have a resource type \"tenants\""}, "the relay-operator is not installed there"),
    (["status"], {"broken": "error: You must be logged in to the server (Unauthorized)"}, "does not take your credentials"),
    (["status"], {"broken": "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?"}, "the cluster does not answer"),
    (["status"], {"broken": "Error: unknown flag: --raw"}, "this kubectl is too old (unknown flag: --raw)"),
    (["status"], {"broken": 'error: context "x" does not exist'}, 'context "x" does not exist'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "scene", "said"), FAILURES, ids=lambda one: one if isinstance(one, str) else ""
)
def test_a_failure_says_what_is_and_what_to_do(
    machine: Machine, capsys: Capture, arguments: list[str], scene: dict[str, Any], said: str
) -> None:
    machine.holds(objects=objects("climbing"), **scene)
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("error: ")
    assert captured.out == ""


def test_a_machine_without_kubectl_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["status"]) == 1
    assert "kubectl is not on PATH" in capsys.readouterr().err


def test_a_cluster_without_tenants_says_so(machine: Machine, capsys: Capture) -> None:
    machine.holds()
    assert main(["status"]) == 1
    assert "there is no Tenant yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], "status\t"),
        (["pl"], "plan\t"),
        (["status", ""], "finance"),
        (["status", "-n", ""], "relay-finance"),
        (["why", ""], "finance/chat"),
        (["why", "-t", "finance", ""], "chat"),
        (["why", "--tenant=finance", "c"], "chat"),
        (["why", "-t", ""], "finance"),
        (["retry", "--f"], "--force"),
        (["keys", "-o", ""], "json"),
        (["keys", "finance", "--show", ""], "default"),
        (["keys", "-o", "json", "finance", "--show", "d"], "default"),
        (["keys", "-n", "relay-finance", "--show", ""], "default"),
        (["probe", "finance", "--model", ""], "gpt-4.1"),
        (["status", "--context", ""], "prod"),
    ],
)
def test_completion_offers_what_can_follow(
    machine: Machine, capsys: Capture, words: list[str], offered: str
) -> None:
    scene = objects("climbing")
    scene[ROUTE]["spec"]["match"] = {"models": ["gpt-4.1"]}
    machine.holds(objects=scene)
    assert main(["__complete", *words]) == 0
    *lines, directive = capsys.readouterr().out.splitlines()
    assert any(line.startswith(offered) for line in lines)
    assert all(line.startswith(words[-1]) for line in lines)
    assert directive == ":4"


@pytest.mark.parametrize(
    "words",
    [
        ["keys", "finance", "--show", ""],
        ["probe", "finance", "--model", ""],
        ["status", "--context", ""],
        ["status", "--request-timeout", ""],
    ],
)
def test_completion_offers_no_tenant_where_an_option_awaits_its_value(
    machine: Machine, capsys: Capture, words: list[str]
) -> None:
    machine.holds(objects=objects("climbing"))
    assert main(["__complete", *words]) == 0
    assert "finance" not in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("command", ["back", "pause", "why"])
def test_two_tenants_in_one_command_are_refused(
    machine: Machine, capsys: Capture, command: str
) -> None:
    machine.holds(objects=objects("climbing"))
    assert main([command, "finance/chat", "-t", "marketing"]) == 1
    assert "names tenant finance and --tenant marketing" in capsys.readouterr().err
    assert machine.written == []
    assert main([command, "finance/chat", "-t", "finance"]) == 0


@pytest.mark.parametrize("command", ["status", "keys"])
def test_a_tenant_in_another_namespace_than_the_one_named_is_refused(
    machine: Machine, capsys: Capture, command: str
) -> None:
    machine.holds(objects=objects("climbing"), namespace="relay-finance")
    assert main([command, "finance", "-n", "relay-web"]) == 1
    assert "are two places" in capsys.readouterr().err
    assert main([command, "-n", "default"]) == 1
    assert "namespace default is no tenant's" in capsys.readouterr().err
    assert main([command, "finance", "-n", "relay-finance"]) == 0


def test_the_providers_of_a_refused_route_are_those_that_serve(
    machine: Machine, capsys: Capture
) -> None:
    scene = objects("climbing")
    serving = scene[ROUTE]["status"]["inForce"]["stable"].partition("/")[0]
    scene[ROUTE]["spec"]["stable"]["provider"] = "absent"
    machine.holds(objects=scene)
    assert main(["status", "finance", "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)["providers"]
    assert serving in [one["name"] for one in shown]


def test_a_screen_is_of_the_moment_for_which_it_was_reckoned(
    machine: Machine, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.holds(objects=objects("climbing"))
    moments = itertools.count(time.time(), 30.0)
    monkeypatch.setattr("kubectl_relay.main.time.time", lambda: next(moments))
    assert main(["plan", "finance/chat"]) == 0
    assert "ago" not in capsys.readouterr().out


def test_completion_without_a_cluster_offers_nothing(machine: Machine, capsys: Capture) -> None:
    machine.holds(broken="Unable to connect to the server")
    assert main(["__complete", "status", ""]) == 0
    assert capsys.readouterr().out == ":4\n"
