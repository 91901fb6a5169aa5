"""Stories about everything else that decides on a canary: people, quotas, incidents of both sides, other routes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.canaries.breaches import ERRORS, gets_no_more_calls
from tests.e2e.canaries.playing import Script
from tests.e2e.canaries.scene import Scene

BAD = {"error_percent": 30, "error_status": 500}
ANALYSIS = ERRORS | {"minRequests": 10}


def is_promoted(scene: Scene) -> Script:
    """A healthy canary climbs step by step beside all that goes wrong with others."""
    since = time.monotonic()
    canary = scene.canary(step=25, every="3s")
    scene.apply(scene.spec(canary=canary, analysis=ANALYSIS))
    yield scene.weighs(25)
    scene.forget_losses()
    yield scene.reaches("Promoted", seconds=180)
    weights = [one.weight for one in scene.seen(since=0.0) if one.weight]
    seconds = time.monotonic() - since
    steps = [one for one in scene.moves(since=since) if one.reason in {"Started", "StepPassed"}]
    assert [one.percent for one in steps] == [25, 50, 75, 100], steps
    assert weights == sorted(weights), "a healthy canary lost weight"
    assert scene.lost() == 0, scene.told()
    scene.figures.append(f"promoted after {seconds:.1f} s, no call lost")


def waits_for_its_preflight(scene: Scene) -> Script:
    """A canary whose provider refuses our key gets no call of any user, and starts by itself once the key is taken."""
    scene.behave(api_key="another")
    scene.apply(scene.spec(canary=scene.canary(), analysis=ANALYSIS))
    yield scene.reaches("Preflight")
    yield scene.until(
        "Ready to tell of the key",
        lambda: "Unauthorized" in scene.condition("Ready").get("message", ""),
    )
    scene.forget_losses()
    said = scene.condition("Ready")
    yield scene.passes(8)
    assert (scene.phase, scene.weight) == ("Preflight", 0), scene.told()
    assert scene.lost() == 0, scene.told()
    probes = scene.served()
    assert 0 < probes < 40, f"{probes} probes"
    scene.heal()
    yield scene.weighs(50, seconds=150)
    scene.figures.append(f"{probes} probes, told {said['reason']}: {said['message'][:150]}")


def freezes_while_both_sides_are_bad(scene: Scene) -> Script:
    """An incident of both sides stops the climb and moves nothing; it goes on afterwards by itself.

    It is over a minute after some 120 good calls of the canary, 15 s at 8 a second, and once stable's last calls are good again.
    """
    stable = f"{scene.name}-stable"
    scene.apply(scene.spec(stable=stable, canary=scene.canary(), analysis=ANALYSIS))
    yield scene.is_healthy()
    weight, since = scene.weight, time.monotonic()
    for name in (stable, scene.name):
        scene.world.fleet.behave(name, **BAD)
    yield scene.until(
        "Frozen by an incident of both sides",
        lambda: scene.phase == "Frozen" and scene.verdict_reason == "SharedIncident",
    )
    assert scene.weight == weight, scene.told()
    assert scene.condition("Ready")["status"] == "False"
    found = time.monotonic() - since
    yield scene.passes(4)
    assert (scene.phase, scene.weight) == ("Frozen", weight), scene.told()
    for name in (stable, scene.name):
        scene.world.fleet.heal(name)
    healed = time.monotonic()
    yield scene.until(
        "the climb to go on", lambda: scene.phase not in ("Frozen", "RolledBack"), seconds=300
    )
    seconds = time.monotonic() - healed
    assert "RolledBack" not in {one.phase for one in scene.seen(since=since)}
    assert scene.weight == weight, scene.told()
    assert "Resumed" in {one["reason"] for one in scene.history}, scene.history
    scene.figures.append(
        f"frozen at {weight} % after {found:.1f} s, on again {seconds:.0f} s after"
    )


def freezes_while_stable_is_bad(scene: Scene) -> Script:
    """While stable alone is bad the climb stops and is told of; it goes on by itself."""
    stable = f"{scene.name}-stable"
    scene.apply(
        scene.spec(stable=stable, canary=scene.canary(every="5s", step=10), analysis=ANALYSIS)
    )
    yield scene.is_healthy()
    since = time.monotonic()
    scene.world.fleet.behave(stable, **BAD)
    yield scene.reaches("Frozen")
    weight, reason = scene.weight, scene.condition("Ready")["reason"]
    yield scene.passes(8)
    assert (scene.phase, scene.weight) == ("Frozen", weight), scene.told()
    assert reason == "StableUnhealthy", scene.told()
    scene.world.fleet.heal(stable)
    healed = time.monotonic()
    yield scene.until("the climb to go on", lambda: scene.weight > weight, seconds=240)
    assert "RolledBack" not in {one.phase for one in scene.seen(since=since)}
    seconds = time.monotonic() - healed
    scene.figures.append(f"frozen at {weight} % ({reason}), climbed on {seconds:.0f} s after")


def evacuates_when_asked(scene: Scene) -> Script:
    """With onStableBreach: Evacuate a certified canary takes over from a stable side that is bad."""
    stable = f"{scene.name}-stable"
    analysis = ANALYSIS | {"onStableBreach": "Evacuate"}
    scene.apply(scene.spec(stable=stable, canary=scene.canary(), analysis=analysis))
    yield scene.is_healthy()
    since = time.monotonic()
    scene.world.fleet.behave(stable, **BAD)
    yield scene.weighs(100, seconds=180)
    seconds = time.monotonic() - since
    assert "RolledBack" not in {one.phase for one in scene.seen(since=since)}
    yield scene.passes(3)
    before = scene.served(stable)
    yield scene.passes(3)
    assert scene.served(stable) == before, "stable still gets calls"
    scene.figures.append(f"50 -> 100 % {seconds:.1f} s after: {scene.history[-1]['message'][:160]}")


def holds_on_quota(scene: Scene) -> Script:
    """A canary that meets its provider's quota is no bad canary: it waits, loses no call, and goes on after."""
    # the next step is further away than a busy machine takes to notice the quota
    scene.apply(scene.spec(canary=scene.canary(every="45s"), analysis=ANALYSIS))
    yield scene.weighs(50)
    scene.forget_losses()
    scene.behave(requests_per_minute=30, quota_burst=1)
    yield scene.until(
        "Ready to tell of the quota", lambda: scene.condition("Ready").get("reason") == "Throttled"
    )
    said = scene.condition("Ready")["message"]
    yield scene.passes(10)
    assert (scene.phase, scene.weight) == ("Holding", 50), scene.told()
    lost, told = scene.lost(), scene.told()
    scene.heal()
    yield scene.reaches("Promoted", seconds=240)
    assert lost == 0, f"callers lost {lost} calls: {told}"
    scene.figures.append(f"held at 50 %: {said}; promoted after the quota was lifted")


def cools_down(scene: Scene) -> Script:
    """A canary that was rolled back does not start again when its spec is written again; a person may retry it."""
    spec = scene.spec(canary=scene.canary(), analysis=ANALYSIS | {"coolDown": "20s"})
    scene.apply(spec)
    yield scene.is_healthy()
    scene.behave(**BAD)
    yield scene.reaches("RolledBack")
    token, since = scene.run_token, time.monotonic()
    for _ in range(2):
        scene.patch(canary=None)
        yield scene.reaches("Stable")
        scene.apply(spec)
        yield scene.reaches("RolledBack")
    refused = scene.condition("Ready")
    scene.heal()
    yield scene.passes(25)
    assert {one.weight for one in scene.seen(since=since)} == {0}, "it started again by itself"
    assert scene.served() == 0
    assert "CoolingDown" in {one["reason"] for one in scene.history}, scene.history
    scene.annotate("retry", token)
    yield scene.is_healthy()
    assert scene.weight == 50
    scene.figures.append(f"held back over two edits and its cool-down: {refused['message'][:150]}")


def obeys_edits(scene: Scene) -> Script:
    """Edits in mid-run: lower acts at once, what cannot be used changes nothing, another canary begins anew."""
    following = f"{scene.name}-next"
    spec = scene.spec(canary=scene.canary(step=40), analysis=ANALYSIS)
    scene.apply(spec)
    yield scene.is_healthy()
    scene.forget_losses()
    run = scene.status["run"]
    scene.patch(canary={"percent": 10})
    yield scene.until("10 %", lambda: scene.weight == 10, seconds=30)
    assert scene.phase == "Holding"
    scene.patch(canary={"provider": "nobody"})
    yield scene.until(
        "a refusal", lambda: scene.condition("Accepted").get("reason") == "ProviderNotFound"
    )
    before = scene.served()
    yield scene.passes(5)
    assert (scene.weight, scene.status["run"]) == (10, run), scene.told()
    assert scene.served() > before, "the canary in force lost its calls to an edit that was refused"
    scene.patch(canary={"provider": following, "percent": 100})
    yield scene.until(
        "another run", lambda: scene.status.get("run") == run + 1 and scene.weight == 40
    )
    yield scene.is_healthy()
    before = scene.served()
    yield scene.passes(3)
    # conversations of the first canary go where the new one's share falls
    assert scene.served() == before, "the canary that was taken out still gets calls"
    assert scene.served(following) > 0
    assert scene.lost() == 0, scene.told()
    scene.figures.append("40 -> 10 % at once, a refused edit moved nothing, the next began at 40 %")


def is_not_disturbed_by_a_conflict(scene: Scene) -> Script:
    """A younger route for the same calls gets none, and takes over when the older one is deleted."""
    late, other = f"{scene.name}-late", f"{scene.name}-other"
    scene.apply(scene.spec(canary=scene.canary(step=20), analysis=ANALYSIS))
    yield scene.is_healthy()
    scene.forget_losses()
    history, since = scene.history, time.monotonic()
    younger = Scene(scene.world, late, scene.tenant)
    scene.apply(scene.spec(stable=other), name=late)
    yield younger.until(
        "Conflicted", lambda: younger.condition("Accepted").get("reason") == "Conflicted"
    )
    message = younger.condition("Accepted")["message"]
    yield scene.passes(5)
    assert scene.served(other) == 0, "the younger route got calls"
    assert {(one.phase, one.weight) for one in scene.seen(since=since)} == {("Progressing", 20)}
    assert scene.history == history
    assert scene.lost() == 0, scene.told()
    scene.world.cluster.kubectl("delete", "relayroute", scene.name, "-n", scene.namespace)
    yield younger.until(
        "the younger route in use", lambda: younger.condition("Accepted").get("status") == "True"
    )
    yield younger.until("calls for it", lambda: scene.served(other) > 0)
    scene.figures.append(f"refused: {message}; in use after the other was gone")


def freezes_on_breach(scene: Scene) -> Script:
    """With onBreach: Freeze the weight stays until a person says how to go on."""
    scene.apply(
        scene.spec(
            canary=scene.canary(every="15s", step=30), analysis=ANALYSIS | {"onBreach": "Freeze"}
        )
    )
    yield scene.weighs(30)
    scene.behave(**BAD)
    yield scene.reaches("Frozen")
    weight, token = scene.weight, scene.run_token
    assert weight > 0
    assert "requests failed" in scene.cause or "breakers" in scene.cause, scene.cause
    scene.heal()
    yield scene.passes(10)
    assert (scene.phase, scene.weight) == ("Frozen", weight), scene.told()
    scene.annotate("retry", token)
    yield scene.reaches("Promoted", seconds=240)
    scene.figures.append(f"frozen at {weight} %, went on by hand, promoted")


def returns_by_hand(scene: Scene) -> Script:
    """paused keeps the weight, percent: 0 takes it at once, and both are told."""
    scene.apply(scene.spec(canary=scene.canary(every="3s", step=20), analysis=ANALYSIS))
    yield scene.weighs(20)
    scene.forget_losses()
    scene.patch(paused=True)
    yield scene.reaches("Paused")
    weight = scene.weight
    yield scene.passes(10)
    assert (scene.phase, scene.weight) == ("Paused", weight), scene.told()
    scene.patch(canary={"percent": 0})
    yield scene.reaches("Stable")
    yield from gets_no_more_calls(scene)
    assert scene.weight == 0
    assert {"Started", "ReturnedToStable"} <= scene.event_reasons()
    assert scene.lost() == 0, scene.told()
    scene.figures.append(f"paused at {weight} %, then back to stable")


@dataclass(frozen=True, slots=True)
class Story:
    """A story with the traffic that it needs, and providers beside its canary."""

    script: Callable[[Scene], Script]
    rate: float = 8.0
    stream_percent: int = 50
    more_providers: tuple[str, ...] = ()


DECISIONS: dict[str, Story] = {
    "healthy": Story(is_promoted),
    "preflight": Story(waits_for_its_preflight),
    "both-bad": Story(
        freezes_while_both_sides_are_bad, rate=16.0, more_providers=("both-bad-stable",)
    ),
    "stable-bad": Story(
        freezes_while_stable_is_bad, rate=20.0, more_providers=("stable-bad-stable",)
    ),
    "evacuated": Story(evacuates_when_asked, rate=20.0, more_providers=("evacuated-stable",)),
    "quota": Story(holds_on_quota),
    "again": Story(cools_down),
    "edited": Story(obeys_edits, more_providers=("edited-next",)),
    "conflict": Story(is_not_disturbed_by_a_conflict, more_providers=("conflict-other",)),
    "freezing": Story(freezes_on_breach),
    "by-hand": Story(returns_by_hand),
}
