"""What counts as proof that the network keeps a tenant apart, and what does not."""

import dataclasses

import pytest

from relay_contract.isolation_probe import CONNECT_SECONDS, Outcome, TargetKind
from relay_operator.decisions.isolation.finding import NOT_PROBED, PodSight, Sight, judge
from relay_operator.names import Reason

FAST = 0.01
REFUSALS = (Outcome.REFUSED, Outcome.NO_ANSWER, Outcome.UNREACHABLE)


def sight(
    kind: TargetKind = TargetKind.DECOY,
    relay: Outcome = Outcome.NO_ANSWER,
    seconds: float | None = FAST,
    *,
    permitted: bool = False,
) -> Sight:
    place = f"{kind.value.lower()}:1"
    return Sight(kind=kind, place=place, relay=relay, operator_seconds=seconds, permitted=permitted)


DECOY, API_SERVER = sight(), sight(TargetKind.API_SERVER)
PROVEN = PodSight(
    pod="relay-1", targets=(DECOY, API_SERVER), from_outside=Outcome.NO_ANSWER, serving=True
)


def judged(*pods: PodSight) -> tuple[bool | None, Reason]:
    found = judge(pods, namespace="relay-finance")
    return found.holds, found.reason


def with_targets(*targets: Sight) -> PodSight:
    return dataclasses.replace(PROVEN, targets=targets)


@pytest.mark.parametrize("outcome", REFUSALS)
def test_every_way_of_being_refused_proves_isolation(outcome: Outcome) -> None:
    pod = dataclasses.replace(with_targets(sight(relay=outcome)), from_outside=outcome)
    assert judged(pod) == (True, Reason.PROBED)


@pytest.mark.parametrize("kind", TargetKind)
def test_one_target_that_is_reached_is_enough_to_prove_the_opposite(kind: TargetKind) -> None:
    reached = sight(kind, Outcome.CONNECTED)
    assert judged(with_targets(DECOY, API_SERVER, reached)) == (False, Reason.NOT_ENFORCED)
    # also where the operator itself got no connection
    alone = sight(kind, Outcome.CONNECTED, None)
    assert judged(with_targets(DECOY, alone)) == (False, Reason.NOT_ENFORCED)
    # and where another pod is silent
    silent = PodSight(pod="relay-2", problem="no answer")
    assert judged(silent, with_targets(reached)) == (False, Reason.NOT_ENFORCED)


def test_a_target_that_nobody_reaches_proves_nothing() -> None:
    nobody = with_targets(sight(seconds=None), sight(TargetKind.API_SERVER, seconds=None))
    assert judged(nobody) == (None, Reason.UNVERIFIED)


def test_a_refusal_on_a_slow_network_proves_nothing() -> None:
    slow = with_targets(sight(seconds=CONNECT_SECONDS * 0.9))
    assert judged(slow) == (None, Reason.UNVERIFIED)


def test_what_the_tenant_may_reach_is_no_evidence_either_way() -> None:
    reached = sight(TargetKind.NEIGHBOUR, Outcome.CONNECTED, permitted=True)
    refused = sight(TargetKind.NEIGHBOUR, permitted=True)
    assert judged(with_targets(DECOY, reached)) == (True, Reason.PROBED)
    assert "another tenant" not in judge([with_targets(DECOY, refused)], namespace="n").message


def test_the_operator_is_let_in_where_it_should_not() -> None:
    reached = dataclasses.replace(PROVEN, from_outside=Outcome.CONNECTED)
    assert judged(reached) == (False, Reason.NOT_ENFORCED)
    assert judged(dataclasses.replace(PROVEN, from_outside=None)) == (True, Reason.PROBED)


def test_a_port_that_takes_no_connections_proves_nothing_by_refusing_one() -> None:
    starting = dataclasses.replace(PROVEN, serving=False)
    assert judged(starting) == (None, Reason.UNVERIFIED)


def test_every_probed_pod_has_to_prove_it() -> None:
    silent = PodSight(pod="relay-2", problem="no answer within 4 s")
    found = judge([PROVEN, silent], namespace="relay-finance")
    assert (found.holds, found.reason) == (None, Reason.PROBE_FAILED)
    assert "relay-2" in found.message
    assert "no answer within 4 s" in found.message
    assert judge([], namespace="relay-finance") == NOT_PROBED


def test_the_message_names_pod_and_places_and_what_to_look_at() -> None:
    pod = with_targets(DECOY, sight(TargetKind.API_SERVER, Outcome.CONNECTED))
    found = judge(
        [dataclasses.replace(pod, from_outside=Outcome.CONNECTED)], namespace="relay-finance"
    )
    assert found.message.startswith(
        "pod relay-1 reaches the API server (apiserver:1) and is reached by the operator, whom allowFrom does not let in"
    )
    assert "NetworkPolicies in relay-finance that the operator did not write" in found.message


def test_the_message_of_a_proof_says_what_is_left_unproven() -> None:
    nothing_there = sight(TargetKind.METADATA, seconds=None)
    found = judge([with_targets(DECOY, API_SERVER, nothing_there)], namespace="relay-finance")
    assert found.message == (
        "relay pods cannot connect to the operator's decoy and the API server, nor the operator to their traffic port; "
        "the operator cannot connect to a metadata address itself, so nothing is proven for that"
    )
