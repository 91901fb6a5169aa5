"""Canaries that are bad in some way: each is rolled back, for the right reason, and gets no call after that."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.canaries.playing import Script
from tests.e2e.canaries.scene import Scene

ERRORS: dict[str, Any] = {"errorRate": {"maxPercent": 1}}
BROKEN = ("ErrorRate", "BreakerTripped", "RefusesMore")


def _latency(signal: str) -> dict[str, Any]:
    return {"latency": [{"signal": signal, "quantile": 0.9, "maxMilliseconds": 400}]}


@dataclass(frozen=True, slots=True)
class Breach:
    """What is wrong with the canary, what has to find it, and what the cause in status says.

    most_lost bounds the calls that callers lose; None where a canary fails some calls until it is proven.
    """

    behaviour: dict[str, Any]
    reasons: tuple[str, ...]
    says: str
    analysis: dict[str, Any] = field(default_factory=lambda: ERRORS)
    rate: float = 8.0
    stream_percent: int = 50
    most_lost: int | None = None


BREACHES: dict[str, Breach] = {
    "errors": Breach(
        {"error_percent": 30, "error_status": 500},
        ("ErrorRate", "BreakerTripped"),
        r"\d+ of \d+ requests failed|breakers of",
    ),
    "slow-first-token": Breach(
        {"first_token_ms": 1200},
        ("Latency",),
        r"took over 400 ms to the first token",
        _latency("FirstToken"),
        stream_percent=100,
        most_lost=0,
    ),
    "slow-answers": Breach(
        {"latency_ms": 1200}, ("Latency",), r"took over 400 ms", _latency("Total"), most_lost=0
    ),
    "more-tokens": Breach(
        {"reasoning_tokens": 60},
        ("TokenDrift",),
        r"output tokens an answer, stable",
        {"tokens": {"maxDriftPercent": 25}},
        rate=16.0,
        most_lost=0,
    ),
    "no-headers": Breach({"fault": "no_answer"}, ("StalledCalls",), r"none has finished since"),
    "silent-streams": Breach(
        {"hold_after_events": 3},
        ("StalledCalls",),
        r"none has finished since",
        stream_percent=100,
    ),
    "torn-streams": Breach(
        {"fault": "die"}, BROKEN, r"requests failed|breakers of", stream_percent=100, most_lost=60
    ),
    "payment-required": Breach(
        {"error_percent": 100, "error_status": 402}, BROKEN, r"failed|breakers of", most_lost=60
    ),
    "empty-answers": Breach(
        {"fault": "empty"}, BROKEN, r"requests failed|breakers of", most_lost=60
    ),
    "garbage-answers": Breach(
        {"fault": "garbage"}, BROKEN, r"requests failed|breakers of", most_lost=60
    ),
    "errors-in-streams": Breach(
        {"fault": "error_event"},
        BROKEN,
        r"requests failed|breakers of",
        stream_percent=100,
        most_lost=60,
    ),
    "dead": Breach({"fault": "reset"}, BROKEN, r"failed|breakers of", most_lost=60),
}


def is_rolled_back(scene: Scene, breach: Breach) -> Script:
    """A canary that was healthy turns bad."""
    analysis = breach.analysis | {"minRequests": 10}
    scene.apply(scene.spec(canary=scene.canary(), analysis=analysis))
    yield scene.is_healthy()
    assert scene.weight == 50, scene.told()
    scene.forget_losses()
    since = time.monotonic()
    scene.behave(**breach.behaviour)
    yield scene.reaches("RolledBack", seconds=300)
    seconds = time.monotonic() - since
    yield from gets_no_more_calls(scene)
    lost = scene.lost()
    scene.figures.append(
        f"{scene.verdict_reason} after {seconds:.1f} s, {lost} calls lost: {scene.cause}"
    )
    _check(scene, breach, lost)


def gets_no_more_calls(scene: Scene) -> Iterator[Any]:
    """Checks that a canary that was rolled back gets no call once the last have ended."""
    yield scene.passes(3)
    before = scene.served()
    yield scene.passes(4)
    assert scene.served() == before, "the canary still gets calls after its rollback"


def _check(scene: Scene, breach: Breach, lost: int) -> None:
    assert scene.status["weights"] == {"stablePercent": 100, "canaryPercent": 0}
    assert scene.verdict == "Breached", scene.told()
    assert scene.verdict_reason in breach.reasons, scene.told()
    assert re.search(breach.says, scene.cause), scene.cause
    assert "rolled back from 50 %" in scene.cause
    assert scene.condition("RolledBack")["status"] == "True"
    assert scene.condition("WithinSLO")["status"] == "False"
    ready = scene.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "RolledBack"), ready
    assert scene.condition("Stalled")["status"] == "True"
    assert scene.history[-1]["reason"] == "SloBreach", scene.history
    assert {"Started", "SloBreach"} <= scene.event_reasons()
    if breach.most_lost is not None:
        assert lost <= breach.most_lost, f"callers lost {lost} calls"
