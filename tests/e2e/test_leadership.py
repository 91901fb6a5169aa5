"""Two operators on a real cluster: one acts, and another one goes on when it is killed, ended, stopped or cut off."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.cluster.session.fixtures import tell
from tests.demo.commands import Cluster, wait_until
from tests.e2e import leaders, stopped_leaders
from tests.e2e.test_tenancy import apply

pytestmark = pytest.mark.timeout(240)

TENANT = "led"
SPACE = f"relay-{TENANT}"
TABLE = "leadership"
MORE_SECONDS = 5


@pytest.fixture(scope="module")
def led(staged: Cluster) -> Iterator[Cluster]:
    """Creates a tenant whose queue tells which change of its spec the relay runs."""
    leaders.both_run(staged)
    apply(staged, "Tenant", TENANT, tenant(1))
    staged.kubectl("wait", f"tenant/{TENANT}", "--for=condition=Ready", "--timeout=90s")
    yield staged
    staged.kubectl("delete", "tenant", TENANT, "--ignore-not-found", "--wait=false")


def tenant(weight: int) -> dict[str, Any]:
    """Returns the spec with one figure that goes into its document."""
    return {
        "apiKeys": [{"name": "web"}],
        "relay": {"replicas": 1},
        "queue": {"maxDepth": weight},
    }


def programmed(cluster: Cluster) -> int:
    """Returns the generation of the document that every relay pod runs; 0 while one lacks the newest."""
    relay = cluster.get("tenant", TENANT).get("status", {}).get("relay", {})
    is_everywhere = relay.get("acknowledged") == relay.get("replicas")
    return int(relay.get("configGeneration", 0)) if is_everywhere else 0


def acts(cluster: Cluster, depth: int) -> None:
    """Checks that a change of the spec gets into the relay."""
    before = wait_until("the document everywhere", lambda: programmed(cluster), bool, seconds=60)
    apply(cluster, "Tenant", TENANT, tenant(depth))
    wait_until(
        "the change to be in force",
        lambda: programmed(cluster),
        lambda seen: seen > before,
        seconds=60,
    )


def test_one_operator_leads_and_both_are_ready(led: Cluster) -> None:
    first = leaders.leader(led)
    pods = leaders.pods(led)
    assert leaders.pod_of(first) in pods
    assert len(pods) == 2
    assert leaders.spec(led)["leaseTransitions"] >= 1


def test_a_standby_acts_after_the_leader_was_killed(
    led: Cluster, request: pytest.FixtureRequest
) -> None:
    epoch = leaders.spec(led)["leaseTransitions"]
    seconds = leaders.is_killed(led)
    tell(request.config, f"  killed: another one led after {seconds:.1f} s")
    assert leaders.spec(led)["leaseTransitions"] == epoch + 1
    acts(led, 11)


def test_a_standby_acts_after_the_leader_has_ended(
    led: Cluster, request: pytest.FixtureRequest
) -> None:
    leaders.both_run(led)
    seconds = leaders.is_ended(led)
    tell(request.config, f"  ended: another one led after {seconds:.1f} s")
    acts(led, 12)


def test_the_leader_outlives_its_lease(led: Cluster) -> None:
    leaders.both_run(led)
    first = leaders.leader(led)
    led.kubectl("delete", *leaders.LEASE)
    wait_until(
        "a Lease",
        lambda: leaders.spec(led),
        lambda seen: bool(seen),
        seconds=leaders.TAKEOVER_SECONDS,
    )
    assert leaders.leader(led) == first
    acts(led, 13)


@pytest.mark.embedded_only
def test_a_leader_that_was_stopped_acts_no_more(
    led: Cluster, request: pytest.FixtureRequest
) -> None:
    """Counts what the former leader changes, and sends to the relay, after it goes on: nothing, although it was in the middle of it."""
    leaders.both_run(led)
    first = leaders.leader(led)
    pod = led.get("pod", leaders.pod_of(first), "-n", leaders.NAMESPACE)
    relay = led.get("pods", "-n", SPACE, "-l", "app.kubernetes.io/name=relay")["items"][0]
    ways = f"ip saddr {pod['status']['podIP']} ip daddr {relay['status']['podIP']} tcp dport 8081"
    for depth in range(20, 24):
        apply(led, "Tenant", TENANT, tenant(depth))
    gone_on = stopped_leaders.stop(led, before_it_goes_on=lambda: count_pushes(led, ways))
    try:
        acts(led, 14)
        told = stopped_leaders.check(led, gone_on, relays=SPACE)
        counted = leaders.nft(led, f"list table ip {TABLE}\n")
    finally:
        leaders.nft(led, f"delete table ip {TABLE}\n")
    tell(request.config, f"  {told}")
    assert "counter packets 0 bytes 0" in counted, counted
    assert leaders.leader(led) != first
    acts(led, 15)


def count_pushes(led: Cluster, ways: str) -> None:
    """Counts what goes these ways from now on; what leaves a process that was stopped with its connections open is data."""
    rule = f"{ways} tcp flags & psh == psh counter"
    chain = f"chain pass {{ type filter hook postrouting priority -300; policy accept; {rule}\n}}"
    leaders.nft(led, f"table ip {TABLE} {{\n{chain}\n}}\n")


@contextmanager
def cut_off(led: Cluster, pod: str) -> Iterator[None]:
    """Keeps a pod from the API server."""
    address = led.get("pod", pod, "-n", leaders.NAMESPACE)["status"]["podIP"]
    drop = f"ip saddr {address} tcp dport {{443, 6443}} drop"
    chain = f"chain pass {{ type filter hook prerouting priority -300; policy accept; {drop}\n}}"
    leaders.nft(led, f"table ip {TABLE} {{\n{chain}\n}}\n")
    try:
        yield
    finally:
        leaders.nft(led, f"delete table ip {TABLE}\n")


@pytest.mark.embedded_only
def test_a_leader_without_the_api_server_is_replaced(
    led: Cluster, request: pytest.FixtureRequest
) -> None:
    leaders.both_run(led)
    first = leaders.leader(led)
    with cut_off(led, leaders.pod_of(first)):
        seconds = leaders.taken_over(led, first)
        acts(led, 16)
    tell(request.config, f"  cut off: another one led after {seconds:.1f} s")
    leaders.both_run(led)
    acts(led, 17)


@pytest.mark.embedded_only
def test_a_standby_that_does_not_see_the_leader_leaves_it_the_lead_and_takes_it_later(
    led: Cluster, request: pytest.FixtureRequest
) -> None:
    leaders.both_run(led)
    first = leaders.leader(led)
    (standby,) = leaders.pods(led) - {leaders.pod_of(first)}
    epoch = leaders.spec(led)["leaseTransitions"]
    with cut_off(led, standby):
        # until the standby has seen no sign of the leader for longer than a lease
        time.sleep(leaders.spec(led)["leaseDurationSeconds"] + MORE_SECONDS)
        acts(led, 18)
        assert leaders.leader(led) == first
    leaders.both_run(led)
    acts(led, 19)
    assert (leaders.leader(led), leaders.spec(led)["leaseTransitions"]) == (first, epoch)
    seconds = leaders.is_killed(led)
    tell(request.config, f"  killed, after the standby was cut off: led after {seconds:.1f} s")
    acts(led, 20)
