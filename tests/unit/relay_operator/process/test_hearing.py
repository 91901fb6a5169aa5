"""An operator is deaf when a watch does not show what the API server has; it is not when nothing happens or nobody answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.process.hearing import DECIDED_FROM, Hearing


@dataclass(slots=True)
class Body:
    total_bytes: int = 0


class Ears:
    """The traffic of a life whose watches hear of nothing unless they are told to, and an API server that answers or not."""

    def __init__(self, life: Life) -> None:
        self.loop = asyncio.get_running_loop()
        self.traffic = ApiTraffic(self.loop.time)
        self.bodies = {watch: Body() for watch in DECIDED_FROM}
        self.traffic.watch_ages.begin(DECIDED_FROM, now=self.loop.time())
        for watch, body in self.bodies.items():
            self.traffic.watch_ages.opened(watch, body, now=self.loop.time())
        self.answers = True
        self.heard: set[str] = set()
        api = life.api
        self.hearing = Hearing(api=api, traffic=self.traffic, watched_state=life.watched_state)

    async def passes(self, seconds: float) -> None:
        """Lets time pass, with a question about the Lease every two seconds."""
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            if self.answers:
                self.traffic._note_answer(self.loop.time())
            for watch in self.heard:
                self.bodies[watch].total_bytes += 1
            self.traffic.watch_ages.sample(self.loop.time())
            await asyncio.sleep(2)


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[Stage, Life, Ears]]:
    """Lets an operator of one tenant stand by, and compare what its watches show."""
    stage = Stage()
    stage.provider("legacy")
    stage.tenant()
    life = stage.life()
    await life.stand_by()
    ears = Ears(life)
    hearing = asyncio.create_task(ears.hearing.run())
    yield stage, life, ears
    hearing.cancel()
    await life.end()


@in_virtual_time
async def test_a_watch_that_lacks_what_there_is_makes_the_operator_deaf() -> None:
    async with listening() as (stage, life, ears):
        ears.heard = {"providers", "relayroutes"}
        await ears.passes(60)
        # nothing of what comes from now on is shown
        life.lagging.add("Tenant")
        stage.tenant("legal")
        await ears.passes(120)
        assert ears.hearing.deaf_to() == ""
        await ears.passes(60)
        assert ears.hearing.deaf_to() == "tenants"


@in_virtual_time
async def test_a_watch_on_which_nothing_happens_does_not() -> None:
    async with listening() as (_, life, ears):
        await ears.passes(1200)
        assert ears.hearing.deaf_to() == ""
        # a list of each kind each time that it has been silent for so long again, and no more
        assert set(life.api.lists_of) == {"Tenant", "Provider", "ToolServer", "RelayRoute"}
        assert all(4 <= number <= 6 for number in life.api.lists_of.values()), life.api.lists_of


@in_virtual_time
async def test_nothing_is_said_of_watches_while_the_api_server_is_away() -> None:
    async with listening() as (stage, life, ears):
        await ears.passes(60)
        life.lagging.add("Tenant")
        stage.tenant("legal")
        ears.answers = False
        await ears.passes(3600)
        assert ears.hearing.deaf_to() == ""
        # it has its time from when the API server is back
        ears.answers = True
        await ears.passes(190)
        assert ears.hearing.deaf_to() == ""
        await ears.passes(60)
        assert ears.hearing.deaf_to() == "tenants"


@in_virtual_time
async def test_an_operator_that_hears_again_is_not_deaf_any_more() -> None:
    async with listening() as (stage, life, ears):
        await ears.passes(60)
        life.lagging.add("Tenant")
        stage.tenant("legal")
        await ears.passes(200)
        assert ears.hearing.deaf_to() == "tenants"
        ears.heard = set(DECIDED_FROM)
        await ears.passes(20)
        assert ears.hearing.deaf_to() == ""


@in_virtual_time
async def test_a_list_that_is_refused_tells_nothing() -> None:
    async with listening() as (stage, life, ears):
        life.lagging.add("Tenant")
        stage.tenant("legal")
        life.api.failures.statuses["Tenant"] = 403
        await ears.passes(400)
        assert ears.hearing.deaf_to() == ""
        del life.api.failures.statuses["Tenant"]
        await ears.passes(30)
        assert ears.hearing.deaf_to() == "tenants"
