"""No call is lost while relay pods are deleted, rolled or scaled, or the operator and Prometheus are gone."""

import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.session.fixtures import tell
from tests.demo import stage, story
from tests.demo.commands import Cluster, wait_until
from tests.e2e import leaders, previous_chart
from tests.e2e.canaries.timeline import followed

RELAYS = "relay-finance"


def serving(cluster: Cluster, count: int) -> None:
    """Waits until that many relay pods are ready and no other is left."""

    def pods() -> list[bool]:
        items = cluster.get("pods", "-n", RELAYS, "-l", "app.kubernetes.io/name=relay")["items"]
        return [
            any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in pod["status"].get("conditions", [])
            )
            and "deletionTimestamp" not in pod["metadata"]
            for pod in items
        ]

    wait_until(
        f"{count} relay pods", pods, lambda seen: seen == [True] * count, seconds=60, every=0.5
    )


@pytest.fixture(scope="module")
def loaded(staged: Cluster) -> Iterator[Cluster]:
    """Puts tenant finance on its stable provider and calls it 80 times a second, half of it streams."""
    first = stage.EXAMPLES / "01-first-tenant"
    for name in ("providers.yaml", "tenant.yaml"):
        staged.kubectl("apply", "-f", str(first / name))
    staged.kubectl("wait", "tenant/finance", "--for=condition=Ready", "--timeout=60s")
    staged.kubectl("apply", "-f", str(first / "route.yaml"))
    staged.kubectl(
        "wait", "relayroute/chat", "-n", RELAYS, "--for=condition=Ready", "--timeout=60s"
    )
    stage.start_caller(staged)
    wait_until(
        "an answered call",
        lambda: story.totals(staged),
        lambda seen: seen.get("answered", 0) > 0,
        seconds=60,
    )
    yield staged
    staged.kubectl("delete", "pod", "caller", "-n", "web", "--ignore-not-found", "--grace-period=1")


def losses(cluster: Cluster) -> tuple[int, int]:
    """Returns calls answered with an error and calls not answered, from a report later than now."""
    now = time.time()
    seen = wait_until(
        "a fresh report",
        lambda: story.totals(cluster),
        lambda report: report.get("at", 0) > now + 1,
        seconds=30,
    )
    return seen["failed"], seen["dropped"]


def test_relay_pods_run_the_compiled_hot_path(loaded: Cluster) -> None:
    script = (
        "import relay.calls.exchange; from relay.dialect.body_scan import scan;"
        "print(scan.__module__, relay.calls.exchange.__file__)"
    )
    printed = loaded.kubectl(
        "exec", "-n", RELAYS, "deployment/relay", "--", "python3", "-c", script
    )
    # with another Python version the image is built uncompiled, and its build says so
    compiled = sys.version_info[:2] == (3, 11)
    scan, exchange = printed.split()
    assert scan == f"relay.dialect.{'_body_scan' if compiled else 'body_scan_pure'}"
    assert exchange.endswith(".so" if compiled else ".py")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("disruption", ["deleted", "rolled", "scaled"])
def test_no_call_is_lost_while_relay_pods_change(loaded: Cluster, disruption: str) -> None:
    serving(loaded, 2)
    before = losses(loaded)
    if disruption == "deleted":
        pod = loaded.kubectl("get", "pods", "-n", RELAYS, "-o", "name").split()[0]
        loaded.kubectl("delete", pod, "-n", RELAYS, "--wait=true")
        serving(loaded, 2)
    elif disruption == "rolled":
        loaded.break_glass("rollout", "restart", "deployment/relay", "-n", RELAYS)
        loaded.kubectl("rollout", "status", "deployment/relay", "-n", RELAYS, "--timeout=120s")
        serving(loaded, 2)
    else:
        for replicas in (3, 2):
            patch = f'{{"spec":{{"relay":{{"replicas":{replicas}}}}}}}'
            loaded.kubectl("patch", "tenant", "finance", "--type=merge", "-p", patch)
            serving(loaded, replicas)
    assert losses(loaded) == before


@pytest.mark.timeout(240)
def test_calls_are_served_without_operator_and_prometheus(loaded: Cluster) -> None:
    before = losses(loaded)
    operator = ("-n", "relay-system", "deployment/relay-operator")
    prometheus = ("-n", "monitoring", "deployment/prometheus")
    try:
        for target in (operator, prometheus):
            loaded.kubectl("scale", "--replicas=0", *target)
        loaded.kubectl("delete", "pods", "-n", RELAYS, "--all", "--wait=true")
        serving(loaded, 2)
        after = losses(loaded)
    finally:
        for target, replicas in ((operator, 2), (prometheus, 1)):
            loaded.kubectl("scale", f"--replicas={replicas}", *target)
            loaded.kubectl("rollout", "status", *target, "--timeout=90s")
    # both pods were deleted at once: connections refused meanwhile are caused by the test, errors are not
    assert after[0] == before[0]


@pytest.mark.timeout(240)
def test_a_canarys_weight_stays_while_prometheus_is_gone(loaded: Cluster) -> None:
    prometheus = ("-n", "monitoring", "deployment/prometheus")
    route = ("relayroute", "chat", "-n", RELAYS)

    def status() -> dict[str, object]:
        found: dict[str, object] = loaded.get(*route).get("status", {})
        return found

    loaded.kubectl("scale", "--replicas=0", *prometheus)
    try:
        loaded.kubectl(
            "wait",
            "--for=delete",
            "pod",
            "-l",
            "app=prometheus",
            "-n",
            "monitoring",
            "--timeout=60s",
        )
        loaded.kubectl("apply", "-f", str(stage.EXAMPLES / "02-canary" / "climb.yaml"))
        wait_until(
            "the start of the canary",
            lambda: status().get("phase"),
            lambda phase: phase == "Progressing",
            seconds=30,
        )
        wait_until(
            "the verdict Unmeasurable",
            lambda: status().get("analysis"),
            lambda seen: isinstance(seen, dict) and seen.get("verdict") == "Unmeasurable",
            seconds=30,
        )
        # twice the time of a step, so that a rise without evidence would show
        time.sleep(9)
        assert status()["weights"] == {"stablePercent": 75, "canaryPercent": 25}
    finally:
        loaded.kubectl("scale", "--replicas=1", *prometheus)
        loaded.kubectl("rollout", "status", *prometheus, "--timeout=90s")
    wait_until(
        "the promotion",
        lambda: status().get("phase"),
        lambda phase: phase == "Promoted",
        seconds=90,
    )


def relay_pods(cluster: Cluster) -> set[str]:
    """Returns the UIDs of the relay pods."""
    return {one["metadata"]["uid"] for one in cluster.get("pods", "-n", RELAYS)["items"]}


def climbing() -> dict[str, Any]:
    """Returns the spec of a route whose canary climbs for about a minute."""
    canary = {"provider": "holysheep", "model": "gpt-4.1", "percent": 100}
    return {
        "match": {"models": ["gpt-4.1"]},
        "stable": {"provider": "legacy", "model": "gpt-4.1"},
        "canary": canary | {"progression": {"stepPercent": 10, "every": "6s", "minRequests": 20}},
        "analysis": {"minRequests": 20, "errorRate": {"maxPercent": 1}},
    }


@pytest.mark.timeout(300)
def test_an_upgrade_and_a_rollback_of_the_operator_change_nothing_about_a_canary_that_climbs(
    loaded: Cluster, request: pytest.FixtureRequest
) -> None:
    """Upgrades from the chart of an earlier version, as the README says, in the middle of a climb with 80 calls a second, and takes
    it back with helm rollback in the same climb.

    Shows that chart, rights, custom resources and two operators are replaced under a canary: no call is lost, the weight never
    falls, each step takes its time, and each decision is made once. It does not show documents and status as the code of that
    version wrote them: both charts run the images of this checkout (previous_chart.py).
    """
    space, route = RELAYS, ("relayroute", "chat", "-n", RELAYS)

    def status() -> dict[str, Any]:
        found: dict[str, Any] = loaded.get(*route).get("status", {})
        return found

    def weight() -> int:
        return int(status().get("weights", {}).get("canaryPercent", 0))

    loaded.kubectl("apply", "-f", str(stage.EXAMPLES / "01-first-tenant" / "route.yaml"))
    previous_chart.go_back(loaded)
    leaders.both_run(loaded)
    wait_until(
        "a route without a canary", lambda: status().get("phase"), "Stable".__eq__, seconds=60
    )
    before, former = losses(loaded), leaders.leader(loaded)
    pods = relay_pods(loaded)
    with followed(loaded) as timeline:
        manifest = {
            "apiVersion": "relay-operator.dev/v1alpha1",
            "kind": "RelayRoute",
            "metadata": {"name": "chat", "namespace": space},
            "spec": climbing(),
        }
        began = time.monotonic()
        loaded.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        wait_until("20 %", weight, lambda seen: seen >= 20, seconds=90)
        at, since = weight(), time.monotonic()
        previous_chart.upgrade(loaded)
        seconds, reached = time.monotonic() - since, weight()
        newer = leaders.leader(loaded)
        previous_chart.roll_back(loaded)
        rolled_back = weight()
        wait_until("the promotion", lambda: status().get("phase"), "Promoted".__eq__, seconds=150)
        seen = timeline.seen(space, "chat", since=began)
    assert losses(loaded) == before
    assert len({former, newer, leaders.leader(loaded)}) == 3
    assert reached < 100, "the climb was over before the rollback"
    # the relays' template is that of the operator's version, which is the same: none was rolled
    assert relay_pods(loaded) == pods
    tell(
        request.config,
        f"  upgraded in {seconds:.1f} s from {at} % to {reached} %, rolled back until {rolled_back} %, promoted after {time.monotonic() - began:.1f} s",
    )
    previous_chart.stay(loaded)
    weights = [one.weight for one in seen if one.phase == "Progressing"]
    assert weights == sorted(weights), weights
    assert {later - earlier for earlier, later in itertools.pairwise(weights)} <= {0, 10}, weights
    assert {one.phase for one in seen} <= {"Stable", "Preflight", "Progressing", "Promoted"}, seen
    made = [(one["reason"], one.get("canaryPercent")) for one in status()["history"]]
    assert len(made) == len(set(made)), made
    assert {reason for reason, _ in made} <= {"Started", "StepPassed", "Promoted"}, made
