"""The routes of the example directories, driven through what their pages promise, with shortened times.

A story takes the route as it stands there and changes nothing but names, durations, numbers of calls and limits of latency.
"""

import re
import time
from typing import Any

import yaml
from tests.demo import stage
from tests.e2e.canaries.breaches import gets_no_more_calls
from tests.e2e.canaries.decisions import Story
from tests.e2e.canaries.playing import Script
from tests.e2e.canaries.scene import STABLE, Scene

_DURATION = re.compile(r"^([0-9]+(ms|s|m|h))+$")
_FEWER = 20
"""Takes the place of larger numbers of calls that a step needs."""
_TIMES_SLOWER = 10
"""A machine that builds and tests at the same time is no measure of latency."""


def spec_of(scene: Scene, directory: str, **durations: str) -> dict[str, Any]:
    """Returns the spec of an example's route between the story's own providers.

    durations are the values that fields of these names get, wherever they stand; a field that is not named keeps its own.
    """
    text = (stage.EXAMPLES / directory / "route.yaml").read_text()
    spec: dict[str, Any] = _shortened(yaml.safe_load(text)["spec"], durations)
    names = {"legacy": STABLE, "holysheep": scene.name}
    for side in (spec["stable"], spec.get("canary", {}), *spec.get("fallback", [])):
        if side:
            side["provider"] = names[side["provider"]]
            side.pop("model", None)
    return spec | {"match": {"models": [scene.name]}}


def _shortened(value: Any, durations: dict[str, str], name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _shortened(one, durations, key) for key, one in value.items()}
    if isinstance(value, list):
        return [_shortened(one, durations, name) for one in value]
    if name == "minRequests":
        return min(value, _FEWER)
    if name == "maxMilliseconds":
        return _TIMES_SLOWER * value
    if isinstance(value, str) and _DURATION.match(value):
        return durations.get(name, value)
    return value


def stays_at_ten_percent(scene: Scene) -> Script:
    """03: one session in ten, and no more."""
    scene.apply(spec_of(scene, "03-ten-percent"))
    yield scene.weighs(10)
    scene.forget_losses()
    before, sent = scene.served(), scene.calls()["sent"]
    yield scene.until(
        "the verdict", lambda: scene.verdict == "Healthy" and scene.phase == "Holding", seconds=180
    )
    share = (scene.served() - before) / (scene.calls()["sent"] - sent)
    assert scene.weight == 10
    assert 0.02 < share < 0.25, f"{100 * share:.1f} % of the calls went to the canary"
    scene.patch(canary={"percent": 0})
    yield scene.reaches("Stable")
    yield from gets_no_more_calls(scene)
    assert scene.lost() == 0, scene.told()
    scene.figures.append(f"held at 10 % ({100 * share:.1f} % of the calls), back by percent: 0")


def climbs_the_playbook(scene: Scene) -> Script:
    """04: 10 points at a time, a bake, promoted; every guard set."""
    scene.apply(spec_of(scene, "04-every-four-hours", every="2s", bake="5s"))
    yield scene.weighs(10)
    scene.forget_losses()
    began = time.monotonic()
    yield scene.reaches("Promoted", seconds=300)
    seen = scene.seen(since=0.0)
    weights = [one.weight for one in seen if one.weight]
    assert sorted(set(weights)) == list(range(10, 101, 10)), weights
    assert weights == sorted(weights)
    assert "Baking" in {one.phase for one in seen}
    assert scene.lost() == 0, scene.told()
    scene.figures.append(f"ten steps, baked, promoted in {time.monotonic() - began:.0f} s")


def jumps_guarded(scene: Scene) -> Script:
    """05: all traffic at once, and back when it is proved bad."""
    scene.apply(spec_of(scene, "05-single-jump"))
    yield scene.weighs(100)
    yield scene.reaches("Baking", seconds=120)
    began = time.monotonic()
    scene.behave(error_percent=30, error_status=500)
    yield scene.reaches("RolledBack")
    scene.figures.append(
        f"100 % at once, baking, rolled back {time.monotonic() - began:.1f} s after it broke: {scene.cause}"
    )
    assert "rolled back from 100 %" in scene.cause
    yield from gets_no_more_calls(scene)


def waits_for_approval(scene: Scene) -> Script:
    """06: each step waits for a person, and a left-over approval passes no further step."""
    scene.apply(spec_of(scene, "06-manual-approval", every="2s"))
    for weight in (25, 50):
        yield scene.until(
            f"a wait for approval at {weight} %",
            lambda weight=weight: (
                scene.weight == weight
                and scene.condition("Ready").get("reason") == "AwaitingApproval"
            ),
        )
        token = f"{scene.run_token}/{scene.status['step']['index']}"
        assert token in scene.condition("Ready")["message"]
        scene.annotate("approve", token)
    yield scene.until(
        "a wait for approval at 75 %",
        lambda: scene.weight == 75 and scene.condition("Ready").get("reason") == "AwaitingApproval",
    )
    yield scene.passes(8)
    assert scene.weight == 75, scene.told()
    scene.figures.append("25, 50 and 75 %, each after its approval alone")


def survives_an_outage(scene: Scene) -> Script:
    """07: the canary's provider dies and is rolled back; the breaker spares the callers."""
    scene.apply(spec_of(scene, "07-provider-outage"))
    yield scene.is_healthy()
    scene.forget_losses()
    began = time.monotonic()
    scene.behave(error_percent=100, error_status=503)
    yield scene.reaches("RolledBack")
    lost = scene.lost()
    scene.figures.append(
        f"rolled back after {time.monotonic() - began:.1f} s, {lost} calls lost: {scene.cause}"
    )
    assert lost == 0, f"callers lost {lost} calls although the answer 503 may be tried elsewhere"
    yield from gets_no_more_calls(scene)


def leaves_a_failing_provider(scene: Scene) -> Script:
    """08: at 10 % while stable breaks its limit, and all traffic as soon as the canary is certified."""
    stable = f"{scene.name}-stable"
    spec = spec_of(scene, "08-evacuation")
    scene.apply(spec | {"stable": {"provider": stable}})
    yield scene.weighs(10)
    began = time.monotonic()
    scene.world.fleet.behave(stable, error_percent=20, error_status=500)
    yield scene.weighs(100, seconds=240)
    seconds = time.monotonic() - began
    weights = {one.weight for one in scene.seen(since=began)}
    assert weights == {10, 100}, weights
    yield scene.passes(4)
    before = scene.served(stable)
    yield scene.passes(3)
    assert scene.served(stable) == before, "stable still gets calls"
    scene.figures.append(f"10 -> 100 % {seconds:.1f} s after stable began to fail")


def is_copied_to_first(scene: Scene) -> Script:
    """09: copies of a tenth of the calls, compared, before the canary has any; then it climbs."""
    scene.apply(spec_of(scene, "09-shadow-first", minDuration="5s", every="2s"))
    yield scene.has_reached("Shadowing")
    scene.forget_losses()
    began = time.monotonic()
    yield scene.weighs(10, seconds=180)
    shown = scene.status["shadow"]
    assert shown["compared"] >= _FEWER, shown
    before = [one for one in scene.seen(since=0.0) if one.phase in ("Preflight", "Shadowing")]
    assert {one.weight for one in before} == {0}, before
    yield scene.weighs(30, seconds=180)
    assert scene.lost() == 0, scene.told()
    scene.figures.append(
        f"{shown['compared']} copies compared, {shown['matched']} alike, 30 % after {time.monotonic() - began:.0f} s"
    )


EXAMPLES: dict[str, Story] = {
    "example-03": Story(stays_at_ten_percent, rate=12.0),
    "example-04": Story(climbs_the_playbook, rate=12.0),
    "example-05": Story(jumps_guarded, rate=12.0),
    "example-06": Story(waits_for_approval, rate=12.0),
    "example-07": Story(survives_an_outage, rate=12.0),
    "example-08": Story(
        leaves_a_failing_provider, rate=30.0, more_providers=("example-08-stable",)
    ),
    "example-09": Story(is_copied_to_first, rate=24.0),
}
