"""What a Tenant at rest takes of the operator: some kilobytes, and no task of its own."""

import asyncio
from typing import Any

from tests.unit.relay_operator.held_bytes import held_bytes
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

FEW, MANY = 4, 20
_MOST_BYTES = 41 * 1024
"""Of a leader that has seen its fleet grow, for a Tenant with a route and a pod: 66 KiB when statuses were kept as objects, and parts of documents and equal sets of names apart."""


_MODELS = 200
_MOST_BYTES_OF_MODELS = 6 * 1024
"""For each Tenant more than beside a Provider without any: the text of each one's document, which has all of them, takes 19 KiB."""


async def _grow(stage: Stage, numbers: range) -> None:
    for number in numbers:
        stage.tenant(f"t{number}")
    await stage.settle(3)
    for number in numbers:
        stage.pod(f"t{number}-pod", tenant=f"t{number}", ip=f"10.0.1.{number}")
        stage.route(tenant=f"t{number}")
        stage.roll(f"t{number}")
    await stage.settle(60)


def _held(stage: Stage, life: Life) -> int:
    around: list[Any] = [stage, stage.server, stage.relays, stage.samples, stage.network]
    around += [life, life.api, life.api.writes, asyncio.get_running_loop()]
    return held_bytes(vars(life).values(), but=[*around, life._tasks, vars(stage.server)])


@in_virtual_time
async def test_a_tenant_at_rest_takes_few_kilobytes_and_no_task() -> None:
    stage = Stage()
    stage.provider("legacy")
    life = await stage.operator()
    await stage.settle(2)
    await _grow(stage, range(FEW))
    held, tasks = _held(stage, life), len(asyncio.all_tasks())
    await _grow(stage, range(FEW, MANY))
    for number in range(MANY):
        assert stage.condition("Tenant", f"t{number}", "Ready")["status"] == "True"
        ready = stage.condition("RelayRoute", "chat", "Ready", tenant=f"t{number}")
        assert ready["status"] == "True"
    assert (_held(stage, life) - held) / (MANY - FEW) < _MOST_BYTES
    assert len(asyncio.all_tasks()) == tasks
    await life.end()


async def _bytes_of_a_tenant(models: int) -> float:
    stage = Stage()
    stage.provider("legacy", models=[{"name": f"model-{number}"} for number in range(models)])
    life = await stage.operator()
    await stage.settle(2)
    await _grow(stage, range(FEW))
    held = _held(stage, life)
    await _grow(stage, range(FEW, MANY))
    assert all(
        len(one.catalogue.providers[0].models) == models for one in stage.relays.documents.values()
    )
    grown = _held(stage, life) - held
    await life.end()
    return grown / (MANY - FEW)


@in_virtual_time
async def test_a_provider_with_many_models_is_not_kept_for_each_tenant() -> None:
    with_models, without = await _bytes_of_a_tenant(_MODELS), await _bytes_of_a_tenant(0)
    assert with_models - without < _MOST_BYTES_OF_MODELS
