"""The shape of every status: what is written is what a restarted operator reads."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions import provider_status, route_status, tenant_status
from relay_operator.decisions.analysis.verdict import NOT_MEASURED, Outcome, Verdict
from relay_operator.decisions.canary.state import CAUSES, Phase, RolledBack, State
from relay_operator.decisions.provider_status import ProviderStatus
from relay_operator.decisions.route_status import InForce, Move, Programmed, Progress, RouteStatus
from relay_operator.decisions.tenant_status import TenantStatus
from relay_operator.names import Reason

seconds = st.integers(1, 4_000_000_000).map(float)
moves = st.builds(
    Move,
    at=seconds,
    reason=st.sampled_from(Reason).map(str),
    message=st.text(max_size=40),
    canary_percent=st.integers(0, 100),
    certified=st.none() | st.booleans(),
)
verdicts = st.builds(
    Verdict,
    outcome=st.sampled_from(Outcome),
    reason=st.sampled_from(Reason),
    message=st.text(max_size=40),
)


counts = st.integers(0, 1000)
rolled_back = st.builds(
    RolledBack,
    fingerprint=st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
    at=st.integers(0, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000),
    cause=st.text(),
    cause_reason=st.sampled_from(CAUSES),
)


@st.composite
def progresses(draw: st.DrawFn) -> Progress:
    """Draws what the state machine makes: a stable route has no run."""
    history = tuple(draw(st.lists(moves, max_size=10)))
    phase = draw(st.sampled_from(Phase))
    kept: Any = {"run": draw(counts), "rolled_back": tuple(draw(st.lists(rolled_back, max_size=5)))}
    ended = phase in (Phase.ROLLED_BACK, Phase.FROZEN)
    state = State(
        phase=phase,
        weight_percent=0 if phase is Phase.ROLLED_BACK else draw(st.integers(0, 100)),
        fingerprint=draw(st.from_regex(r"[0-9a-f]{12}", fullmatch=True)),
        step_index=draw(st.integers(0, 99)),
        step_started_at=draw(st.integers(0, 4_000_000_000_000)) / 1000,
        cause=draw(st.text(min_size=1)) if ended else "",
        cause_reason=draw(st.sampled_from(CAUSES)) if ended else Reason.SLO_BREACH,
        **kept,
    )
    measured, is_held = draw(st.booleans()), draw(st.booleans())
    return Progress(
        state=State(**kept) if phase is Phase.STABLE else state,
        verdict=draw(verdicts) if measured else NOT_MEASURED,
        measured_at=draw(seconds) if measured else 0.0,
        history=history,
        is_held=is_held and phase is not Phase.STABLE,
        held_until=0.0 if is_held or phase is Phase.STABLE else draw(seconds),
    )


programmed = st.builds(Programmed, generation=counts, pods=counts, acknowledged=counts)
in_force = st.builds(InForce, stable=st.text(max_size=40), canary=st.text(max_size=40))
route_statuses = st.builds(
    RouteStatus,
    progress=st.none() | progresses(),
    programmed=st.none() | programmed,
    in_force=st.none() | in_force,
)


def stored(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns what the API server keeps of a merge patch: a field of None is gone."""
    kept = {name: value for name, value in fields.items() if value is not None}
    answer: dict[str, Any] = json.loads(json.dumps(kept))
    return answer


@given(status=route_statuses)
def test_a_routes_status_comes_back_whole(status: RouteStatus) -> None:
    assert route_status.from_status(stored(route_status.to_status(status))) == status


ODD_TEXTS = ("", "x", "2999-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "Promoted", "RolledBack")


def damaged(draw: st.DrawFn, value: Any) -> Any:
    """Draws a value of the same type, as the schema of the CRD asks for, with parts changed or left out."""
    if isinstance(value, dict):
        return {name: damaged(draw, one) for name, one in value.items() if draw(st.integers(0, 7))}
    if isinstance(value, list):
        return [damaged(draw, one) for one in value] * draw(st.integers(0, 2))
    if draw(st.integers(0, 3)):
        return value
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return draw(st.sampled_from(ODD_TEXTS))
    return draw(st.sampled_from((0, 1, 100, 2**53)))


@given(status=route_statuses, data=st.data())
def test_a_status_that_somebody_changed_stops_nothing(status: RouteStatus, data: Any) -> None:
    whole = stored(route_status.to_status(status))
    found = route_status.from_status(damaged(data.draw, whole))
    assert found.progress is None or isinstance(found.progress.state, State)


@given(namespace=st.text(), endpoint=st.text(), numbers=st.tuples(counts, counts, counts, counts))
def test_a_tenants_status_comes_back_whole(
    namespace: str, endpoint: str, numbers: tuple[int, int, int, int]
) -> None:
    replicas, ready, acknowledged, generation = numbers
    status = TenantStatus(
        namespace=namespace,
        endpoint=endpoint,
        replicas=replicas,
        ready=ready,
        acknowledged=acknowledged,
        config_generation=generation,
    )
    assert tenant_status.from_status(stored(tenant_status.to_status(status))) == status


@given(url=st.none() | st.text(), tenants=counts)
def test_a_providers_status_comes_back_whole(url: str | None, tenants: int) -> None:
    status = ProviderStatus(url=url, tenants=tenants)
    assert provider_status.from_status(stored(provider_status.to_status(status))) == status


def test_an_object_that_was_never_reconciled_has_no_status_to_resume() -> None:
    default = {"observedGeneration": -1}
    assert route_status.from_status(default) == RouteStatus()
    assert tenant_status.from_status(default) is None
    assert provider_status.from_status(default) is None


def test_the_summary_counts_the_pods_that_serve_also_while_a_document_is_on_its_way() -> None:
    status = TenantStatus(
        namespace="n", endpoint="e", replicas=3, ready=2, acknowledged=0, config_generation=1
    )
    assert tenant_status.to_status(status)["relay"]["summary"] == "2/3"


def test_the_cause_that_an_older_version_told_as_its_last_move_is_kept() -> None:
    move = {"at": "2026-11-25T10:00:00Z", "reason": "SloBreach", "message": "it failed"}
    status = {"phase": "RolledBack", "canaryFingerprint": "a" * 12, "history": [move]}
    progress = route_status.from_status(status).progress
    assert progress is not None
    assert progress.state.cause == "it failed"


def test_values_that_only_a_newer_version_knows_hold_the_canary_unmeasured() -> None:
    status = {
        "phase": "Evacuating",
        "canaryFingerprint": "a" * 12,
        "weights": {"canaryPercent": 75},
        "analysis": {"verdict": "Drifting", "reason": "New", "message": "m", "measuredAt": "x"},
    }
    progress = route_status.from_status(status).progress
    assert progress is not None
    assert (progress.state.phase, progress.state.weight_percent) == (Phase.HOLDING, 75)
    assert (progress.verdict, progress.measured_at) == (NOT_MEASURED, 0.0)
