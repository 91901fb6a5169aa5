"""The demonstration of `make demo` as a test: the chart installed by helm on a real cluster."""

import base64

import pytest
from tests.demo import stage, story
from tests.demo.commands import Cluster

SECONDS = 420


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def outcome(staged: Cluster, told: list[str]) -> story.Outcome:
    """Runs the demonstration once."""
    return story.run(staged, told.append)


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
