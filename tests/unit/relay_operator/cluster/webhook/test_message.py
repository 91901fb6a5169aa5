"""What a webhook says of a move: the same id for the same move, whoever tells it, and what a receiver needs to act."""

import json
from dataclasses import replace
from typing import Any

import pytest

from relay_operator.cluster.webhook import message
from relay_operator.decisions.analysis.verdict import MetricRow, Outcome, Verdict
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.canary.state import Phase, Plan, State
from relay_operator.decisions.route_status import InForce, Move
from relay_operator.names import Reason

METADATA = {"name": "chat", "namespace": "relay-finance", "uid": "uid-1"}
ROW = MetricRow(
    name="Errors",
    canary="50 of 100",
    stable="0 of 300",
    limit="1 %",
    evidence="9.1 of 6.2",
    certified=False,
    message="50 of 100 requests failed (50 %, limit 1 %)",
)
MOVE = Move(at=1_790_000_000.0, reason="SloBreach", message="rolled back", canary_percent=0)
SIDES = InForce(stable="legacy/gpt-4.1", canary="new/gpt-4.1")


def a_run(phase: Phase = Phase.ROLLED_BACK) -> Run:
    verdict = Verdict(
        outcome=Outcome.BREACHED, reason=Reason.ERROR_RATE, message="-", metrics=(ROW,)
    )
    state = State(phase=phase, fingerprint="ab", run=3)
    return Run(plan=Plan(), objective=None, stable_fingerprint="cd", state=state, told=verdict)


def content(move: Move = MOVE, **metadata: str) -> tuple[str, dict[str, Any]]:
    found = message.of_move(METADATA | metadata, move, run=a_run(), in_force=SIDES)
    return found.id, json.loads(found.body)


def test_a_rollback_is_told_with_what_it_rests_on() -> None:
    id_, body = content()
    assert id_.startswith("msg_")
    assert body == {
        "type": "relayroute.rolled_back",
        "timestamp": "2026-09-21T14:13:20Z",
        "data": {
            "tenant": "finance",
            "namespace": "relay-finance",
            "route": "chat",
            "uid": "uid-1",
            "run": 3,
            "phase": "RolledBack",
            "weights": {"stablePercent": 100, "canaryPercent": 0},
            "stable": "legacy/gpt-4.1",
            "canary": "new/gpt-4.1",
            "reason": "SloBreach",
            "message": "rolled back",
            "evidence": [
                {
                    "name": "Errors",
                    "canary": "50 of 100",
                    "stable": "0 of 300",
                    "limit": "1 %",
                    "evidence": "9.1 of 6.2",
                    "certified": False,
                    "message": "50 of 100 requests failed (50 %, limit 1 %)",
                }
            ],
        },
    }


def test_the_id_is_the_moves_and_no_other_moves() -> None:
    others = [
        content(replace(MOVE, at=MOVE.at + 1)),
        content(replace(MOVE, reason="Started")),
        content(replace(MOVE, message="another")),
        content(uid="uid-2"),
    ]
    assert content()[0] == content()[0]
    assert len({content()[0], *(id_ for id_, _ in others)}) == 5


@pytest.mark.parametrize(
    ("reason", "weight", "kind"),
    [
        ("Started", 10, "started"),
        ("StepPassed", 20, "step_passed"),
        ("Promoted", 100, "promoted"),
        ("SloBreach", 0, "rolled_back"),
        ("SloBreach", 25, "frozen"),
        ("SharedIncident", 25, "frozen"),
        ("StableUnhealthy", 25, "frozen"),
        ("Evacuated", 100, "evacuated"),
        ("StepDeadline", 0, "rolled_back"),
        ("StepDeadline", 25, "held"),
        ("Unmeasurable", 0, "rolled_back"),
        ("Unmeasurable", 25, "held"),
        ("ReturnedToStable", 0, "returned_to_stable"),
        ("SomethingNew", 0, "something_new"),
    ],
)
def test_the_type_says_what_happened(reason: str, weight: int, kind: str) -> None:
    _, body = content(replace(MOVE, reason=reason, canary_percent=weight))
    assert body["type"] == f"relayroute.{kind}"


def test_a_route_of_which_nothing_serves_is_told_all_the_same() -> None:
    found = message.of_move(METADATA, MOVE, run=a_run(), in_force=None)
    data = json.loads(found.body)["data"]
    assert (data["stable"], data["canary"]) == ("", "")
