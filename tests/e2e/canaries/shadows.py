"""Stories of canaries that get copies of calls before any call of their own."""

from typing import Any

from tests.e2e.canaries.breaches import ERRORS, gets_no_more_calls
from tests.e2e.canaries.decisions import Story
from tests.e2e.canaries.playing import Script
from tests.e2e.canaries.scene import Scene

ANALYSIS = ERRORS | {"minRequests": 10}
SHADOW: dict[str, Any] = {"percent": 50, "minDuration": "20s", "minRequests": 20}


def climbs_after_its_copies(scene: Scene) -> Script:
    """Copies alone reach the canary until they have shown enough; then it gets its first step by itself."""
    scene.apply(scene.spec(canary=scene.canary(step=40, shadow=SHADOW), analysis=ANALYSIS))
    yield scene.has_reached("Shadowing")
    scene.forget_losses()
    yield scene.reaches("Progressing", seconds=150)
    assert scene.weight == 40, scene.told()
    shown = scene.status["shadow"]
    assert shown["compared"] >= SHADOW["minRequests"], shown
    assert shown.get("failed", 0) == 0, shown
    phases = list(dict.fromkeys(one.phase for one in scene.seen(since=0.0) if one.phase))
    assert phases[-2:] == ["Shadowing", "Progressing"], phases
    assert {one.weight for one in scene.seen(since=0.0)} == {0, 40}
    assert {"Shadowing", "Started"} <= scene.event_reasons()
    yield scene.is_healthy()
    assert scene.lost() == 0, scene.told()
    scene.figures.append(
        f"40 % after {shown['compared']} copies, {shown['matched']} of them alike; no call lost"
    )


def is_rolled_back_by_its_copies(scene: Scene) -> Script:
    """Copies that fail end the run at weight 0: no caller has met the canary, and none does afterwards."""
    shadow = SHADOW | {"minDuration": "1h"}
    scene.apply(scene.spec(canary=scene.canary(shadow=shadow), analysis=ANALYSIS))
    yield scene.reaches("Shadowing")
    scene.forget_losses()
    scene.behave(error_percent=50, error_status=500)
    yield scene.reaches("RolledBack")
    cause = scene.cause
    yield from gets_no_more_calls(scene)
    assert {one.weight for one in scene.seen(since=0.0)} == {0}, "a bad canary had weight"
    assert scene.lost() == 0, scene.told()
    assert {"Shadowing", "SloBreach"} <= scene.event_reasons()
    scene.figures.append(f"rolled back without weight: {cause}")


SHADOWS: dict[str, Story] = {
    "shadowed": Story(climbs_after_its_copies),
    "shadow-bad": Story(is_rolled_back_by_its_copies),
}
