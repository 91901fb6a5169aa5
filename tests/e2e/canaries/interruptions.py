"""Operators are killed, ended or stopped, or gone for a while: no decision is caused by that, and what was decided stays."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.cluster import cluster_records
from tests.demo import stage
from tests.demo.commands import Cluster, wait_until
from tests.e2e import leaders, stopped_leaders
from tests.e2e.canaries.breaches import ERRORS, gets_no_more_calls
from tests.e2e.canaries.decisions import ANALYSIS, BAD
from tests.e2e.canaries.playing import Script
from tests.e2e.canaries.scene import Scene

OPERATOR = ("deployment/relay-operator", "-n", stage.OPERATOR_NAMESPACE)
OPERATOR_PODS = ("-l", "app.kubernetes.io/name=relay-operator", "-n", stage.OPERATOR_NAMESPACE)
RELAYS = "relay-plays"
REPLICAS = 2


def _kill_all(cluster: Cluster) -> None:
    """Kills every operator without a word: nobody has anything in memory."""
    former = leaders.leader(cluster)
    cluster.kubectl("delete", "pods", *OPERATOR_PODS, "--grace-period=0", "--force")
    leaders.leader(cluster, other_than=former)


def _kill_leader(cluster: Cluster) -> None:
    leaders.is_killed(cluster)


def _end_leader(cluster: Cluster) -> None:
    leaders.is_ended(cluster)


def _delete_lease(cluster: Cluster) -> None:
    cluster.kubectl("delete", *leaders.LEASE)
    leaders.leader(cluster)


def _stop_leader(cluster: Cluster) -> str:
    """Stops the leader in the middle of a climb, lets it go on when another one leads, and tells what it has changed since."""
    record = cluster_records.read(cluster.name)
    if record is None or record.inner is None:
        return "not stopped: its process is out of reach"
    gone_on = stopped_leaders.stop(cluster)
    return stopped_leaders.check(cluster, gone_on, relays=RELAYS)


INTERRUPTIONS: dict[str, Callable[[Cluster], str | None]] = {
    # first, while the canary in motion has the most of its climb before it
    "leader stopped": _stop_leader,
    "all killed": _kill_all,
    "leader killed": _kill_leader,
    "leader ended": _end_leader,
    "Lease deleted": _delete_lease,
}


def interrupt(cluster: Cluster, say: Callable[[str], None]) -> None:
    """Interrupts the operators in every way, one after the other, each time once both run."""
    for name, interruption in INTERRUPTIONS.items():
        leaders.both_run(cluster)
        told = interruption(cluster)
        if told is not None:
            say(f"  {name}: {told}")
        # a decision that the interruption caused would fall into this time
        time.sleep(3)


def scale(cluster: Cluster, replicas: int) -> None:
    """Takes the operators away, or brings them back."""
    cluster.kubectl("scale", *OPERATOR, f"--replicas={replicas}")
    if replicas:
        cluster.kubectl("rollout", "status", *OPERATOR, "--timeout=90s")
    else:
        cluster.kubectl("wait", "--for=delete", "pod", *OPERATOR_PODS, "--timeout=60s")


# -- canaries in every phase --------------------------------------------------------------------------------------------


def _standing(
    phase: str,
    *,
    behaviour: dict[str, Any] | None = None,
    analysis: dict[str, Any] | None = None,
    then: dict[str, Any] | None = None,
    ready: str = "",
    **canary: Any,
) -> Callable[[Scene], Script]:
    """Returns a story that brings a canary into a phase, in which it stays."""

    def script(scene: Scene) -> Script:
        spec = scene.spec(canary=scene.canary(**canary), analysis=analysis or ANALYSIS)
        scene.apply(spec)
        if behaviour or then:
            yield scene.is_healthy()
        if behaviour:
            scene.behave(**behaviour)
        if then:
            scene.patch(**then)
        yield scene.reaches(phase, seconds=150)
        if ready:
            yield scene.until(ready, lambda: scene.condition("Ready").get("reason") == ready)

    return script


def _kept_in_preflight(scene: Scene) -> Script:
    """A canary that the relay pods cannot get an answer from gets no weight."""
    scene.behave(error_percent=100, error_status=500)
    scene.apply(scene.spec(canary=scene.canary(), analysis=ANALYSIS))
    yield scene.reaches("Preflight")
    failed = "PreflightFailed"
    yield scene.until(
        "a failed preflight in the history",
        lambda: (
            [one["reason"] for one in scene.history] == [failed]
            and scene.condition("Ready").get("reason") == failed
        ),
    )


_COPIES = {"percent": 50, "minDuration": "1h", "minRequests": 10}
_MANUAL = {"stepPercent": 25, "every": "1s", "minRequests": 10, "approval": "Manual"}
_FREEZE = ANALYSIS | {"onBreach": "Freeze"}
_EAGER = {"stepPercent": 100, "every": "1s", "minRequests": 10}

PHASES: dict[str, Callable[[Scene], Script]] = {
    "in-stable": _standing("Stable", then={"canary": {"percent": 0}}),
    "in-preflight": _kept_in_preflight,
    "in-shadowing": _standing("Shadowing", shadow=_COPIES),
    "in-progressing": _standing("Progressing", step=25),
    "in-holding": _standing("Holding", percent=25),
    "in-paused": _standing("Paused", step=25, every="60s", then={"paused": True}),
    "in-frozen": _standing("Frozen", behaviour=BAD, analysis=_FREEZE),
    "in-baking": _standing("Baking", progression=_EAGER, bake="1h"),
    "in-promoted": _standing("Promoted", progression=_EAGER),
    "in-rolled-back": _standing("RolledBack", behaviour=BAD),
    "in-approval": _standing("Holding", progression=_MANUAL, ready="AwaitingApproval"),
}
MOVING = "in-motion"


def moves(scene: Scene) -> Script:
    """A canary that climbs while the operator is killed."""
    canary = scene.canary(step=5, every="3s")
    canary["progression"]["minRequests"] = 2
    scene.apply(scene.spec(canary=canary, analysis=ERRORS | {"minRequests": 2}))
    yield scene.weighs(5)


@dataclass(frozen=True, slots=True)
class Position:
    """Everything that a restart must not change."""

    phase: str
    weights: tuple[int, int]
    run: int
    step: int
    cause: str
    history: tuple[tuple[str, str, str], ...]
    ready: str


def position(scene: Scene) -> Position:
    """Reads a route's position from its status."""
    status = scene.status
    weights = status["weights"]
    return Position(
        phase=status["phase"],
        weights=(weights["stablePercent"], weights["canaryPercent"]),
        run=status["run"],
        step=status.get("step", {}).get("index", 0),
        cause=status.get("cause", ""),
        history=tuple((one["at"], one["reason"], one["message"]) for one in scene.history),
        ready=scene.condition("Ready").get("reason", ""),
    )


def stays_where_it_is(scene: Scene, before: Position, since: float) -> None:
    """Checks that nothing was decided about a canary since then, not even for a moment."""
    wait_until("the same position", lambda: position(scene), lambda now: now == before, seconds=60)
    went_through = {(one.phase, one.weight) for one in scene.seen(since=since)}
    assert went_through == {(before.phase, before.weights[1])}, went_through
    scene.figures.append(
        f"{before.phase} {before.weights[1]} % over {len(INTERRUPTIONS)} interruptions, history the same"
    )


def climbed_by_its_steps(scene: Scene, since: float) -> None:
    """Checks that a canary in motion was neither thrown back nor raised by more than its steps."""
    weights = [one.weight for one in scene.seen(since=since)]
    rises = {later - earlier for earlier, later in itertools.pairwise(weights)}
    assert weights == sorted(weights), weights
    # a step that left for the pods just before the kill is told of together with the next
    assert rises <= {0, 5, 10}, weights
    assert weights[-1] > weights[0], "it did not climb on"
    scene.figures.append(f"{weights[0]} -> {weights[-1]} % over {len(INTERRUPTIONS)} interruptions")


# -- without an operator -------------------------------------------------------------------------------------------------


def waits_for_its_death(scene: Scene) -> Script:
    """A healthy canary, killed while there is no operator."""
    scene.apply(scene.spec(canary=scene.canary(), analysis=ANALYSIS))
    yield scene.is_healthy()
    scene.forget_losses()


def is_protected_by_its_breaker(scene: Scene) -> Script:
    """Without an operator the relays keep calls off a dead canary; its weight stays until the operator is back."""
    before = scene.weight
    scene.forget_losses()
    scene.behave(fault="reset")
    yield scene.passes(10)
    first = scene.lost()
    yield scene.passes(10)
    later = scene.lost()
    assert scene.weight == before, scene.told()
    # five in a row a pod and those under way then; afterwards a probe now and then
    assert first <= 60, f"callers lost {first} calls in the first 10 s"
    assert later - first <= 10, f"callers lost {later - first} calls in the next 10 s"
    scene.figures.append(f"{first} calls lost in 10 s, {later - first} in the next 10")


def is_rolled_back_on_return(scene: Scene) -> Script:
    """The operator that is back takes the dead canary's weight away."""
    since = time.monotonic()
    yield scene.reaches("RolledBack")
    scene.figures.append(f"rolled back {time.monotonic() - since:.1f} s after ({scene.cause})")
    yield from gets_no_more_calls(scene)


def resumes(scene: Scene, before: int) -> Script:
    """A healthy canary that kept its weight without an operator climbs on with one."""
    yield scene.until("the climb to go on", lambda: scene.weight > before)
    assert scene.phase in ("Progressing", "Promoted", "Holding")
    assert scene.lost() == 0, scene.told()
    scene.figures.append(f"stayed at {before} % without an operator, climbed on after")
