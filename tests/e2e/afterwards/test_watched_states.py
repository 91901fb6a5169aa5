"""Every state that the stories of this run passed through, as the tools around Kubernetes read it.

Run alone, it has a short story of its own.
"""

from collections import Counter
from typing import Any

import pytest
from tests.demo import stage
from tests.demo.commands import Cluster
from tests.e2e import records
from tests.e2e.test_tenancy import apply
from tests.ecosystem import argo_health, kstatus
from tests.ecosystem.watching import WatchedStates, bodies

PRICES = {
    "currency": "USD",
    "models": [
        {"name": "gpt-4.1", "provider": "", "prices": [{"perMillionTokens": {"input": "2"}}]}
    ],
}
# there need be no such server: how an unreachable one is told is told as well
TOOLS = {"endpoint": {"serviceRef": {"namespace": "relay-system", "name": "none", "port": 80}}}
SERVING = ("Tenant", "Provider", "RelayRoute")
ARGO = {"Current": "Healthy", "Failed": "Degraded", "InProgress": "Progressing"}


@pytest.fixture(scope="module")
def states(staged: Cluster, watched_states: WatchedStates) -> list[dict[str, Any]]:
    """Returns the states, those of an own tenant among them: new, ready, refused, deleted."""
    staged.kubectl("apply", "-f", str(stage.EXAMPLES / "01-first-tenant" / "providers.yaml"))
    apply(staged, "Tenant", "observed", {})
    apply(staged, "PriceList", "observed", PRICES)
    apply(staged, "ToolServer", "observed", TOOLS)
    staged.kubectl("wait", "tenant/observed", "--for=condition=Ready", "--timeout=90s")
    apply(staged, "RelayRoute", "chat", {"stable": {"provider": "legacy"}}, "relay-observed")
    route = ("wait", "relayroute/chat", "-n", "relay-observed", "--timeout=60s")
    staged.kubectl(*route, "--for=condition=Ready")
    apply(staged, "RelayRoute", "chat", {"stable": {"provider": "holysheep"}}, "relay-observed")
    staged.kubectl(*route, "--for=condition=Stalled")
    told = "--for=jsonpath={.status.observedGeneration}=1"
    staged.kubectl("wait", "pricelist/observed", "toolserver/observed", told, "--timeout=90s")
    staged.kubectl("delete", "pricelist/observed", "toolserver/observed", "--timeout=60s")
    staged.kubectl("delete", "tenant", "observed", "--timeout=60s")
    before = (body for one in records.others() for body in bodies(one / records.STATES))
    return [*before, *watched_states.bodies()]


@pytest.mark.timeout(300)
def test_kstatus_reads_of_every_state_what_ready_says(states: list[dict[str, Any]]) -> None:
    computed = kstatus.computed(states)
    told = Counter((body["kind"], status) for body, status in zip(states, computed, strict=True))
    print(f"\n{len(states)} states: {sorted(told.items())}")
    assert {kind for kind, _ in told} == set(argo_health.KINDS)
    assert {(kind, "Current") for kind in SERVING} <= told.keys()
    # in force, or refused for want of a ledger
    assert {("PriceList", "Current"), ("PriceList", "Failed")} & told.keys()
    assert ("RelayRoute", "Failed") in told
    wrong = [
        (status, kstatus.meant(body), body)
        for body, status in zip(states, computed, strict=True)
        if status != kstatus.meant(body) or kstatus.contradiction(body)
    ]
    assert wrong[:3] == []


@pytest.mark.timeout(300)
def test_argo_cd_reads_of_every_state_what_ready_says(states: list[dict[str, Any]]) -> None:
    checks = argo_health.checks()
    wrong = []
    for body in states:
        status, message = argo_health.health(body, checks[body["kind"]])
        meant = kstatus.meant(body)
        ready = kstatus.conditions(body).get("Ready", {})
        awaited = ready.get("reason") == "AwaitingApproval" and meant == "InProgress"
        expected = "Suspended" if awaited and kstatus.is_observed(body) else ARGO.get(meant, status)
        if status != expected or (kstatus.is_observed(body) and not message):
            wrong.append((status, expected, message, body))
    assert wrong[:3] == []
