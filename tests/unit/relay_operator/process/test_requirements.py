"""An operator that cannot see the cluster says what it lacks, and asks for no lead."""

import asyncio
import logging

import pytest
from prometheus_client import REGISTRY
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.injected_failures import InjectedFailures
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.process import requirements


def unmet() -> float | None:
    return REGISTRY.get_sample_value("relay_operator_requirements_unmet")


@in_virtual_time
async def test_a_cluster_that_has_everything_keeps_nobody_waiting() -> None:
    api = InMemoryApiServer().connect()
    began = asyncio.get_running_loop().time()
    assert await requirements.are_met(api, stop=asyncio.Event())
    assert asyncio.get_running_loop().time() == began
    assert unmet() == 0


@pytest.mark.parametrize("kind", ["Tenant", "Provider", "RelayRoute", "Pod", "RoleBinding"])
@pytest.mark.parametrize("status", [403, 404])
@in_virtual_time
async def test_it_waits_for_a_kind_or_a_right_and_goes_on_when_it_comes(
    kind: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    failures = InjectedFailures(statuses={kind: status})
    api = InMemoryApiServer().connect(failures)
    waiting = asyncio.create_task(requirements.are_met(api, stop=asyncio.Event()))
    await asyncio.sleep(50)
    assert not waiting.done()
    assert unmet()
    # said once, and not every time that it looks
    [said] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert f"LIST {kind}: {status}" in said.why  # type: ignore[attr-defined]
    assert (names.OPERATOR_BINDING in said.why) is (status == 403)  # type: ignore[attr-defined]
    failures.statuses.clear()
    assert await waiting
    assert unmet() == 0


@in_virtual_time
async def test_all_that_is_lacking_is_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    failures = InjectedFailures(statuses={"Tenant": 404, "Provider": 404, "RelayRoute": 404})
    api = InMemoryApiServer().connect(failures)
    waiting = asyncio.create_task(requirements.are_met(api, stop=asyncio.Event()))
    await asyncio.sleep(1)
    assert unmet() == 3
    for kind in failures.statuses:
        assert f"LIST {kind}: 404" in caplog.records[-1].why  # type: ignore[attr-defined]
    waiting.cancel()


@in_virtual_time
async def test_an_api_server_that_is_away_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    failures = InjectedFailures(unreachable=True)
    api = InMemoryApiServer().connect(failures)
    waiting = asyncio.create_task(requirements.are_met(api, stop=asyncio.Event()))
    await asyncio.sleep(3)
    assert unmet() == 1
    assert "cannot be reached" in caplog.records[-1].why  # type: ignore[attr-defined]
    failures.unreachable = False
    assert await waiting


@in_virtual_time
async def test_who_is_told_to_end_does_not_wait() -> None:
    failures, stop = InjectedFailures(statuses={"Tenant": 403}), asyncio.Event()
    api = InMemoryApiServer().connect(failures)
    waiting = asyncio.create_task(requirements.are_met(api, stop=stop))
    await asyncio.sleep(1)
    stop.set()
    assert not await waiting
