"""Prometheus fails in every way while canaries climb: nothing healthy is rolled back, and what is dead still loses its calls."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.canaries.breaches import ERRORS
from tests.e2e.canaries.playing import Script
from tests.e2e.canaries.scene import Scene

HELD_SECONDS = 6.0
"""Three times the least time of a step, so that a rise without evidence would show."""
CLIMBING = "climbing"
DESCENDING = ("RolledBack", "Frozen")


@dataclass(frozen=True, slots=True)
class Outage:
    """A fault of Prometheus. holds tells that nothing can be measured meanwhile, so that no weight may rise."""

    begin: Callable[[Scene], None]
    end: Callable[[Scene], None]
    holds: bool = True


def _spoilt(fault: str, *, holds: bool = True) -> Outage:
    return Outage(
        begin=lambda scene: scene.world.prometheus.fail(fault),
        end=lambda scene: scene.world.prometheus.fail("none"),
        holds=holds,
    )


def _kill(scene: Scene) -> None:
    """Deletes the pod, and its data with it."""
    cluster = scene.world.cluster
    cluster.kubectl("scale", "--replicas=0", "deployment/prometheus", "-n", "monitoring")
    pods = ("pods", "-n", "monitoring", "-l", "app=prometheus")
    cluster.kubectl("delete", *pods, "--grace-period=0", "--force", "--ignore-not-found")


def _restart(scene: Scene) -> None:
    target = ("deployment/prometheus", "-n", "monitoring")
    scene.world.cluster.kubectl("scale", "--replicas=1", *target)
    scene.world.cluster.kubectl("rollout", "status", *target, "--timeout=90s")


OUTAGES: dict[str, Outage] = {
    "slow": _spoilt("slow", holds=False),
    "hanging": _spoilt("hanging"),
    "refusing": _spoilt("refusing"),
    "empty": _spoilt("empty"),
    "partial": _spoilt("partial"),
    "garbage": _spoilt("garbage"),
    "impossible": _spoilt("impossible"),
    # time is Prometheus' own, and a count that is lost is no share: canaries go on by what is certain
    "lost-counts": _spoilt("lost_counts", holds=False),
    "early": _spoilt("early", holds=False),
    "late": _spoilt("late", holds=False),
    "killed": Outage(_kill, _restart),
}


def begins_to_climb(scene: Scene) -> Script:
    """A canary that climbs by small steps through all that follows."""
    canary = scene.canary(step=2, every="2s")
    canary["progression"]["minRequests"] = 1
    scene.apply(scene.spec(canary=canary, analysis=ERRORS | {"minRequests": 1}))
    yield scene.weighs(4)


def waits_for_its_death(scene: Scene) -> Script:
    """A healthy canary, killed while Prometheus fails."""
    scene.apply(scene.spec(canary=scene.canary(), analysis=ERRORS | {"minRequests": 10}))
    yield scene.is_healthy()


def goes_on_after(scene: Scene, dying: Scene, outage: Outage) -> Script:
    """The climbing canary holds its weight and goes on afterwards; the dying one is rolled back by its breakers."""
    try:
        began = time.monotonic()
        outage.begin(scene)
        if outage.holds:
            yield scene.until(
                "that nothing can be measured", lambda: scene.verdict == "Unmeasurable"
            )
        told = time.monotonic()
        reason, weight = scene.verdict_reason, scene.weight
        dying.forget_losses()
        dying.behave(fault="reset")
        yield dying.reaches("RolledBack")
        breaker = time.monotonic() - told
        yield scene.passes(max(HELD_SECONDS - breaker, 0.1))
        during = scene.seen(since=told)
    finally:
        outage.end(scene)
    ended, before = time.monotonic(), scene.weight
    assert dying.verdict_reason == "BreakerTripped" or not outage.holds, dying.told()
    lost = dying.lost()
    assert lost <= 60, f"callers lost {lost} calls"
    if outage.holds:
        assert {one.weight for one in during} == {weight}, "the weight moved without evidence"
    yield scene.until("the climb to go on", lambda: scene.weight > before or before == 100)
    on_again = time.monotonic() - ended
    fallen = [one for one in scene.seen(since=began) if one.phase in DESCENDING]
    assert not fallen, f"a healthy canary lost its traffic: {fallen}; {scene.told()}"
    weights = [one.weight for one in scene.seen(since=began)]
    assert weights == sorted(weights), weights
    scene.figures.append(
        f"{reason or 'measured on'} after {told - began:.1f} s, stayed at {weight} %, on again after {on_again:.1f} s; "
        f"the dead one was rolled back after {breaker:.1f} s ({dying.verdict_reason}), {lost} calls lost"
    )
