"""A worker's way to what its pod remembers of calls: each verdict is for the claim that it was asked with."""

from typing import Any

from relay.calls.tool_use.single_calls.call_memory import CallMemory, VerdictReader
from relay.tools.idempotency.remembered_calls import Claim, Verdict


class Reader(VerdictReader):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.findings: list[str] = []

    def decided(self, verdict: Verdict) -> None:
        self.findings.append(verdict.finding)

    def crashed(self, error: Exception) -> None:
        raise error


def test_a_verdict_for_the_worker_that_had_this_number_before_starts_no_call() -> None:
    told: list[dict[str, Any]] = []

    def send(kind: str, **fields: Any) -> None:
        told.append({"kind": kind, **fields})

    before, anew = CallMemory(), CallMemory()
    before.send = anew.send = send
    reader = Reader()
    for memory, call in ((before, "pay 1"), (anew, "pay 2")):
        memory.claim(Claim("uid", "production", 1, call, "", 60, "id"), reader)
    old, own = told
    anew.take_in({"id": old["id"], "call": "pay 1", "verdict": ["first", None, "", 0.0]})
    assert reader.findings == []
    assert (told[-1]["kind"], told[-1]["call"], told[-1]["how"]) == (
        "tool_ended",
        "pay 1",
        "unsent",
    )
    anew.take_in({"id": own["id"], "call": "pay 2", "verdict": ["unknown", None, "", 0.0]})
    assert reader.findings == ["unknown"]
