"""An operator that is killed after one write and started again, and what must not depend on that."""

import asyncio
import functools
import json
from dataclasses import dataclass
from typing import Any

from tests.unit.relay_operator.injected_failures import InjectedFailures, OperatorDied
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.scenes import Scene
from tests.unit.relay_operator.surroundings import SIGNING_KEY
from tests.unit.relay_operator.virtual_time import VirtualTimeLoop

from relay_contract import endpoints, seal
from relay_operator import names
from relay_operator.names import Reason
from relay_operator.reconcile.work_queue import Key

_NOTICED_SECONDS = 0.1
_QUIET_SECONDS = 32.0
"""Longer than the longest pause between two looks at an object that is not yet as it should be."""

_LOOK_SECONDS = 0.4
"""Shorter than the tick of the SLO loop, whose new evidence is written."""

_VOLATILE_METADATA = ("resourceVersion", "creationTimestamp", "generation", "managedFields")
_VOLATILE_STATUS = ("step", "analysis", "next", "shadow", "keys")
"""Times, and what was measured: copies that were counted since the last write are lost with the operator."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a scene.

    objects are without times, versions, random keys and words. writes counts those of the operator's first life.
    further are the writes of one more look at everything in the same life, changed what the next two lives changed.
    """

    objects: dict[str, Any]
    writes: int
    further: list[str]
    changed: tuple[list[tuple[str, str]], list[tuple[str, str]]]


class Keeper:
    """Keeps an operator running, as its Deployment does."""

    def __init__(self, stage: Stage, *, dies_after: int | None) -> None:
        self._died = asyncio.Event()
        failures = InjectedFailures(dies_after=dies_after, on_death=self._died.set)
        self.life: Life = stage.life(failures)
        self._stage = stage
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.life.start()
        self._task = asyncio.create_task(self._keep())

    async def end(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.life.end()

    async def _keep(self) -> None:
        await self._died.wait()
        await asyncio.sleep(_NOTICED_SECONDS)
        await self.life.end()
        self.life = await self._stage.operator()


def play(scene: Scene, *, dies_after: int | None = None) -> Outcome:
    """Plays a scene in virtual time with an operator that is killed once, or never."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(_played(scene, dies_after))


@functools.cache
def undisturbed(scene: Scene) -> Outcome:
    """Plays a scene, once in a process, with an operator that is never killed."""
    return play(scene)


def check(scene: Scene, outcome: Outcome, *, reference: Outcome) -> None:
    """Asserts that the cluster is as if the operator had never been killed, and that nothing is left to write."""
    assert outcome.objects == reference.objects
    assert outcome.further == []
    first, second = outcome.changed
    # a pod younger than its keys is asked once to refresh its mounts, by an operator that cannot know how old they are
    assert {kind for kind, _ in first} <= {"Pod"}
    assert second == []


async def _played(scene: Scene, dies_after: int | None) -> Outcome:
    asyncio.get_running_loop().set_exception_handler(_report_all_but_death)
    stage = Stage()
    # a second canary of a scene waits until the first gives its place back
    stage.canaries_at_once = 1
    # nothing waits long here, and to begin and end a hundred workers for each life is a tenth of the work
    stage.spare_workers = 4
    keeper = Keeper(stage, dies_after=dies_after)
    await keeper.start()
    first = keeper.life
    await scene(stage)
    await stage.settle(_QUIET_SECONDS)
    objects, writes = normalised(stage), first.api.failures.writes
    further = await _looked_again(stage, keeper.life)
    await keeper.end()
    changed = (await _next_life(stage), await _next_life(stage))
    return Outcome(objects, writes, further, changed)


def _report_all_but_death(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # a dead operator's tasks have nobody who would ask for their result
    if not isinstance(context.get("exception"), OperatorDied):
        loop.default_exception_handler(context)


async def _looked_again(stage: Stage, life: Life) -> list[str]:
    """Returns what one more look at everything writes, once the evidence in status is no older than it may be."""
    for namespace, name in life.canaries.runs:
        life.queue.add(Key("RelayRoute", namespace, name))
    await stage.settle(_LOOK_SECONDS)
    written = len(life.api.writes)
    for kind in ("Provider", "Tenant", "RelayRoute"):
        for one in stage.server.list(kind):
            metadata = one["metadata"]
            life.queue.add(Key(kind, metadata.get("namespace", ""), metadata["name"]))
    await stage.settle(_LOOK_SECONDS)
    return [
        f"{write.verb} {'/'.join(filter(None, write.key))}" for write in life.api.writes[written:]
    ]


async def _next_life(stage: Stage) -> list[tuple[str, str]]:
    """Returns what a further life of the operator changes."""
    life = await stage.operator()
    await stage.settle(_LOOK_SECONDS)
    await life.end()
    return life.changes


def normalised(stage: Stage) -> dict[str, Any]:
    """Returns every object, and the reasons of all Events, as they must be however often the operator was killed."""
    everything = stage.everything()
    text = json.dumps(
        {"/".join(key): _normal(*key, one) for key, one in everything.items()}, sort_keys=True
    )
    for key, one in everything.items():
        text = text.replace(one["metadata"]["uid"], f"uid of {'/'.join(key)}")
    objects: dict[str, Any] = json.loads(text.replace(Reason.UNRECORDED, Reason.SLO_BREACH))
    # one who is killed between a repair and its Event does not know of it any more; a change of Ready is told again by
    # the next life if that meets the object in another state
    events = [one for one in stage.server.list("Event") if one["reason"] != Reason.RESTORED]
    moves = sorted(_known(one["reason"]) for one in events if one["action"] == "Move")
    others = sorted({_known(one["reason"]) for one in events if one["action"] != "Move"})
    return objects | {"Events": [*moves, *others]}


def _normal(kind: str, _: str, name: str, one: dict[str, Any]) -> dict[str, Any]:
    metadata = {
        field: value for field, value in one["metadata"].items() if field not in _VOLATILE_METADATA
    }
    normal = {**one, "metadata": metadata}
    if kind == "Pod":
        _without(metadata, "annotations", names.ANNOTATION_NUDGE)
    if (kind, name) == ("ConfigMap", names.DOCUMENT_CONFIGMAP):
        normal["data"] = _document(one["data"][endpoints.DOCUMENT_KEY])
    if (kind, name) == ("Secret", names.API_KEYS_SECRET):
        normal["data"] = sorted(one["data"])
        _without(metadata, "annotations", names.ANNOTATION_KEY_STAMPS)
    if kind in ("Tenant", "Provider", "RelayRoute"):
        normal["status"] = _status(one["status"])
    return normal


def _known(reason: str) -> str:
    """Returns the reason that the operator would have recorded if it had not been killed just before."""
    return Reason.SLO_BREACH if reason == Reason.UNRECORDED else reason


def _document(sealed: str) -> dict[str, Any]:
    document, _ = seal.unseal(sealed, [SIGNING_KEY.public_key()])
    plain = document.model_dump(mode="json", exclude={"generation", "epoch"})
    for key in plain["tenant"]["keys"]:
        for field in ("sha256", "previous_sha256", "next_sha256"):
            if key.get(field) is not None:
                key[field] = "random"
    return dict(plain)


def _status(status: dict[str, Any]) -> dict[str, Any]:
    normal = {field: value for field, value in status.items() if field not in _VOLATILE_STATUS}
    for field, counter in (("relay", "configGeneration"), ("programmed", "generation")):
        if field in normal:
            normal[field] = {**normal[field]}
            normal[field].pop(counter, None)
    # what a run was told of an interrupted move differs in words only
    normal |= {"cause": bool(status.get("cause"))}
    normal["rolledBack"] = [one["fingerprint"] for one in status.get("rolledBack") or ()]
    normal["conditions"] = [
        {field: one[field] for field in ("type", "status", "reason", "observedGeneration")}
        # of limits nothing is known where nobody recorded why the relays obey 0 %
        | ({"status": "False"} if one["reason"] == Reason.UNRECORDED else {})
        for one in status.get("conditions", [])
    ]
    if "history" in normal:
        normal["history"] = [entry["canaryPercent"] for entry in status["history"]]
    return normal


def _without(metadata: dict[str, Any], field: str, name: str) -> None:
    metadata[field] = {key: value for key, value in metadata.get(field, {}).items() if key != name}
