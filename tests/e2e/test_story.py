"""The demonstration of `make demo` as a test: the chart installed by helm on a real cluster."""

import base64
import io
import json
import os
import re
import shlex
import subprocess
import time

import pytest
from rich.console import Console
from tests.dashboards.rare import RARE
from tests.demo import stage, story, things_to_try
from tests.demo.commands import Cluster, wait_until
from tests.demo.view.api_proxy import ApiProxy
from tests.demo.view.figures import QUESTION, read
from tests.demo.view.screen import Screen
from tests.e2e import boards
from tests.e2e.plugin import Plugin
from tests.pages import blocks, output
from tests.pages.story import YOURS

SECONDS = 420


@pytest.fixture(scope="module")
def drawn() -> io.StringIO:
    """What a terminal of 120 columns was sent."""
    return io.StringIO()


@pytest.fixture(scope="module")
def began() -> float:
    return time.time()


@pytest.fixture(scope="module")
def outcome(staged: Cluster, drawn: io.StringIO, began: float) -> story.Outcome:
    """Runs the demonstration once, with its live view."""
    console = Console(file=drawn, force_terminal=True, width=120, color_system=None)
    with Screen(console, staged) as screen:
        return story.run(staged, screen.tell)


def pasted(staged: Cluster, commands: str) -> subprocess.CompletedProcess[str]:
    """Runs commands as somebody does who pastes them into a shell in the root of the checkout."""
    environment = {
        **os.environ,
        **YOURS,
        "KUBECONFIG": str(staged.kubeconfig),
        "PATH": f"{staged.kubectl_path.parent}:{staged.helm_path.parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=stage.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.timeout(SECONDS)
def test_one_canary_is_promoted_and_one_rolled_back(outcome: story.Outcome) -> None:
    assert outcome.promoted
    assert outcome.rollback_seconds > 0
    assert outcome.line().startswith("demo: ok tenant_ready_seconds=")


def test_every_call_was_answered(outcome: story.Outcome) -> None:
    assert outcome.sent_requests > 1000
    assert outcome.dropped_requests == 0


def test_a_canary_with_half_the_errors_that_its_limit_allows_is_kept(
    outcome: story.Outcome,
) -> None:
    assert outcome.kept_percent == 50
    assert outcome.kept_requests > 300
    assert 0 < outcome.kept_failures < 0.03 * outcome.kept_requests


def test_errors_reached_the_caller_only_while_the_fault_lasted(
    outcome: story.Outcome, staged: Cluster
) -> None:
    calls_per_second, fault_share = 80, 0.25 * 0.25
    # a quarter of the canary's quarter of the calls, as long as the canary was served, with room for chance
    expected = calls_per_second * fault_share * max(outcome.rollback_seconds, 1.0)
    assert outcome.failed_requests - outcome.kept_failures <= 3 * expected + 10


def test_the_rollback_shows_in_status_and_events(outcome: story.Outcome, staged: Cluster) -> None:
    conditions = {one["type"]: one for one in outcome.rolled_back["conditions"]}
    assert outcome.rolled_back["phase"] == "RolledBack"
    assert outcome.rolled_back["weights"] == {"stablePercent": 100, "canaryPercent": 0}
    assert conditions["Ready"]["status"] == "False"
    assert conditions["Stalled"]["status"] == "True"
    assert "rolled back from " in conditions["RolledBack"]["message"]
    assert "requests failed" in conditions["RolledBack"]["message"]
    events = staged.get("events.events.k8s.io", "-n", "relay-finance")["items"]
    reasons = {event["reason"] for event in events if event["regarding"]["name"] == "chat"}
    assert {"Started", "StepPassed", "Promoted", "SloBreach"} <= reasons


def test_no_secret_shows_in_status_events_logs_or_the_document(
    outcome: story.Outcome, staged: Cluster
) -> None:
    secret = staged.get("secret", "relay-api-keys", "-n", "relay-finance")
    planted = [base64.b64decode(value).decode() for value in secret["data"].values()]
    planted += [f"provider-key-of-{name}" for name in stage.PROVIDERS]
    shown = "\n".join(
        [
            staged.kubectl("get", "tenants,providers,relayroutes", "-A", "-o", "yaml"),
            staged.kubectl("get", "events", "-A", "-o", "yaml"),
            staged.kubectl("get", "configmaps,pods", "-n", "relay-finance", "-o", "yaml"),
            staged.kubectl(
                "logs",
                "-n",
                "relay-system",
                "-l",
                "app.kubernetes.io/name=relay-operator",
                "--tail=-1",
            ),
            staged.kubectl(
                "logs", "-n", "relay-finance", "-l", "app.kubernetes.io/name=relay", "--tail=-1"
            ),
        ]
    )
    assert len(planted) >= 3
    assert [value for value in planted if value in shown] == []


@pytest.fixture(scope="module")
def plugin(
    outcome: story.Outcome, staged: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Plugin:
    """Returns kubectl relay, where the demonstration left a canary with half of the traffic."""
    return Plugin.built(staged, tmp_path_factory.mktemp("plugin"))


def test_the_plugin_tells_the_story(plugin: Plugin) -> None:
    assert plugin("--version").startswith("kubectl relay ")
    assert "chat" in plugin("status")
    told = plugin("status", "finance")
    assert "Tenant finance  Ready True (Available)" in told
    assert "chat  Holding  [#####     ] 50 % of 50 %" in told
    why = plugin("why", "chat", "-n", "relay-finance")
    assert "Errors" in why
    # the rollback of the run before is among the last moves
    moves = plugin.data("why", "finance/chat")["moves"]
    assert {"SloBreach", "Started"} <= {one["reason"] for one in moves}
    assert "stays at its target of 50 %" in plugin("plan", "chat", "-t", "finance")


def test_the_plugin_looks_as_its_page_shows(plugin: Plugin) -> None:
    samples = blocks.samples_of("docs/kubectl-relay.md")
    assert {one.command.split()[2] for one in samples} == {"status", "why"}
    for one in samples:
        printed = plugin(*shlex.split(one.command)[2:])
        assert output.absent(one.shown, printed) == [], one.command


def test_the_plugin_tells_how_to_call_and_calls(plugin: Plugin, staged: Cluster) -> None:
    secret = staged.get("secret", "relay-api-keys", "-n", "relay-finance")
    key = base64.b64decode(secret["data"]["production"]).decode()
    told = plugin("keys", "finance")
    assert "http://relay.relay-finance.svc:8080/v1" in told
    assert "production" in told
    assert key not in told
    shown = plugin.attempt("keys", "finance", "--show", "production")
    assert shown.stdout == f"{key}\n"
    found = plugin.data("probe", "finance", "--model", "gpt-4.1")
    assert found["passed"]
    names = {one["name"] for one in found["checks"] if one["passed"]}
    assert {"Isolated", "GET /v1/me", "chat with gpt-4.1"} <= names
    # the first look that somebody takes at it shows no warning: providers list the models of the examples
    providers = [one for one in found["checks"] if one["name"].startswith("provider ")]
    assert len(providers) == 2
    assert [one["message"] for one in providers if not one["passed"]] == []
    assert key not in str(found)


def test_the_plugin_steers_the_canary(plugin: Plugin, staged: Cluster) -> None:
    route = ("chat", "-n", "relay-finance")

    def phase() -> str:
        return str(staged.get("relayroute", *route)["status"]["phase"])

    plugin("pause", *route)
    wait_until("a pause", phase, lambda seen: seen == "Paused", seconds=30)
    assert "is paused already" in plugin("pause", *route)
    plugin("resume", *route)
    wait_until("the end of the pause", phase, lambda seen: seen == "Holding", seconds=30)
    for command, why_not in (("approve", "needs no approval"), ("retry", "nothing to be tried")):
        refused = plugin.attempt(command, *route)
        assert (refused.returncode, why_not in refused.stderr) == (1, True), refused
    assert plugin.data("back", *route, "--dry-run")["written"] is False
    assert phase() == "Holding"
    plugin("back", *route)
    wait_until("the way back", phase, lambda seen: seen == "Stable", seconds=30)


def test_the_plugin_says_what_a_person_of_the_tenant_may_not_read(plugin: Plugin) -> None:
    who = ("--as=ann", "--as-group=finance")
    plugin.cluster.kubectl(
        "create", "rolebinding", "finance", "-n", "relay-finance", "--clusterrole=relay-tenant", "--group=finance"
    )  # fmt: skip
    told = plugin("status", "finance", *who)
    assert "chat" in told
    assert "you have no right to read Tenant finance" in told
    plugin("why", "chat", "-n", "relay-finance", *who)
    refused = plugin.attempt("status", "-n", "relay-other", *who)
    assert refused.returncode == 1
    assert "you have no right to list RelayRoutes in relay-other" in refused.stderr


def test_kubectl_completes_the_plugin(plugin: Plugin) -> None:
    assert "finance/chat" in plugin.completions("why", "")
    assert plugin.completions("why", "finance/c")[0] == "finance/chat"


def test_every_panel_of_every_dashboard_has_had_series(
    outcome: story.Outcome, staged: Cluster, began: float
) -> None:
    """Those that only a bad day has are in RARE, and tried with series of their own (tests/chart/test_dashboards.py)."""
    unanswered = boards.unanswered(staged, seconds=time.time() - began)
    empty = [name for name in unanswered if name not in RARE]
    assert not empty, "\n".join(map(str, empty))


def test_the_live_view_showed_the_canary_climb_and_fall(
    outcome: story.Outcome, drawn: io.StringIO
) -> None:
    shown = drawn.getvalue()
    for wanted in ("kubectl apply -f examples/02-canary/climb.yaml", "Progressing", "RolledBack"):
        assert wanted in shown
    assert re.search(r"█{5}▒{5}", shown), "half of all calls, on the way to all"
    assert re.search(r"\d\.\d % \(≤ 1 %\)", shown), "the canary's errors and their limit"
    assert re.search(r"p90 \d+ ms", shown)
    assert re.search(r"\d\.\d of 6\.2", shown), "evidence, of what convicts"
    assert re.search(r"\bin \d s\b", shown), "the time until the next step"


def test_the_live_view_knows_both_sides_and_the_evidence(
    outcome: story.Outcome, staged: Cluster, began: float
) -> None:
    with ApiProxy(staged) as proxy:
        answer = proxy.ask_over(QUESTION, seconds=time.time() - began, step_seconds=2)
    for series in answer["data"]["result"]:
        # the last value of each, as if all had been there at once
        series["value"] = next(
            (one for one in reversed(series["values"]) if one[1] != "NaN"), (0, "NaN")
        )
    figures = read(answer)["relay-finance", "chat"]
    for side in (figures.stable, figures.canary):
        assert side.errors is not None
        assert side.slow is not None
        assert side.first_token_seconds is not None
    assert figures.foremost is not None
    assert figures.foremost.needed > 6
    assert figures.allowed("Errors") == pytest.approx(0.01)


def test_what_is_suggested_to_try_works_as_pasted(outcome: story.Outcome, staged: Cluster) -> None:
    said = [
        pasted(staged, "\n".join((things_to_try.setting(staged), *thing.commands)))
        for thing in things_to_try.things()
    ]
    assert [done.stderr for done in said if done.returncode] == []
    look, call, moved = (done.stdout for done in said)
    assert "relay-finance" in look
    assert "Progress" in look or "Holding" in look
    assert json.loads(call)["choices"]
    assert "condition met" in moved
