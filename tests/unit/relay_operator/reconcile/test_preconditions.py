"""Whatever a leader that was lost had sent changes nothing that was written since: every write says of what it knew."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile import scenes
from tests.unit.relay_operator.reconcile.scenes import Scene
from tests.unit.relay_operator.virtual_time import in_virtual_time

Written = tuple[str, str, dict[str, Any]]


async def a_tenant_that_goes(stage: Stage) -> None:
    await scenes.a_progressing_route(stage)
    stage.server.remove("Tenant", "finance")
    await stage.settle(20)
    stage.server.collect_garbage()
    await stage.settle(20)


async def a_retained_namespace(stage: Stage) -> None:
    await scenes.with_a_tenant(stage, deletionPolicy="Retain")
    stage.server.remove("Tenant", "finance")
    await stage.settle(20)
    stage.server.collect_garbage()
    await stage.settle(20)


@pytest.mark.parametrize(
    "scene",
    [*scenes.SCENES, a_tenant_that_goes, a_retained_namespace],
    ids=lambda one: one.__name__,
)
@in_virtual_time
async def test_every_patch_has_a_precondition(scene: Scene) -> None:
    stage = Stage()
    stage.canaries_at_once = 1
    life = stage.life()
    patch, written = life.api.patch, list[Written]()

    async def noted(kind: str, name: str, changes: dict[str, Any], **where: Any) -> Any:
        written.append((kind, name, changes))
        return await patch(kind, name, changes, **where)

    stand_in: Any = life.api
    stand_in.patch = noted
    await life.start()
    await scene(stage)
    await stage.settle(20)
    await life.end()
    assert written
    assert [one for one in written if not _is_bound(*one)] == []


def _is_bound(kind: str, name: str, changes: dict[str, Any]) -> bool:
    metadata = changes.get("metadata", {})
    # what mounts are refreshed by does no harm however late, and a kubelet writes to a pod all the time
    return "resourceVersion" in metadata or (kind == "Pod" and "uid" in metadata)
