"""The pace at which relay pods are asked, and at which what they tell is taken in, whatever they tell."""

import asyncio
from dataclasses import dataclass
from typing import cast

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.cluster.relays import Asked, Pod, Relays, ToldPreflights
from relay_operator.errors import Unavailable
from relay_operator.reconcile.canaries.canary_moves import CanaryMoves
from relay_operator.reconcile.canaries.pod_questions import PodQuestions
from relay_operator.reconcile.canaries.preflight_watch import PreflightWatch

SPACE = "relay-finance"
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}


@dataclass(slots=True)
class RestlessPods:
    """Answer each question at once, with news of so many bytes; without any, not as relays do. asked counts questions."""

    size: int = 0
    asked: int = 0

    async def preflights(
        self, pod: Pod, *, seen: str, wait_seconds: int, asked: Asked
    ) -> ToldPreflights:
        return await self.answer(pod, seen=seen, wait_seconds=wait_seconds)

    async def answer(self, pod: Pod, *, seen: str, wait_seconds: int) -> ToldPreflights:
        self.asked += 1
        if not self.size:
            raise Unavailable(f"pod {pod.name} does not answer")
        return ToldPreflights(tag=f"{self.asked:x}", preflights=(), size=self.size)


async def a_tenant(pods: int) -> tuple[Stage, Life]:
    """Returns a tenant whose canary gets no weight, since no probe passes."""
    stage = Stage()
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.relays.fail_probes("new", "Unauthorized", "401 to a probe of new")
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    for number in range(pods):
        stage.pod(f"relay-{number}")
    await stage.settle()
    stage.route(canary={"provider": "new", "percent": 100}, analysis=ANALYSIS)
    await stage.settle()
    return stage, life


@in_virtual_time
@pytest.mark.parametrize(
    ("size", "most"), [(1024, 241), (256 * 1024, 16), (2 * 1024 * 1024, 2), (0, 6)]
)
async def test_the_larger_an_answer_is_the_longer_is_the_pause_after_it(
    size: int, most: int
) -> None:
    _, life = await a_tenant(1)
    pods = RestlessPods(size)
    questions: PodQuestions[ToldPreflights] = PodQuestions(
        noun="preflights",
        ask=pods.answer,
        answered=lambda _: None,
        watched_state=life.watched_state,
    )
    questions.ask_in([SPACE])
    await asyncio.sleep(60)
    questions.ask_in(())
    assert most // 2 < pods.asked <= most
    await life.end()


@in_virtual_time
async def test_a_pod_is_asked_again_whatever_taking_in_its_answer_met() -> None:
    _, life = await a_tenant(1)
    pods = RestlessPods(1024)

    def answered(namespace: str) -> None:
        if pods.asked < 3:
            raise ValueError(namespace)

    questions: PodQuestions[ToldPreflights] = PodQuestions(
        noun="preflights", ask=pods.answer, answered=answered, watched_state=life.watched_state
    )
    questions.ask_in([SPACE])
    await asyncio.sleep(60)
    serving = questions.serving(SPACE)
    assert pods.asked > 50
    assert len(questions.answers(serving)) == 1
    questions.ask_in(())
    await life.end()


@in_virtual_time
async def test_what_the_pods_of_a_tenant_tell_is_taken_in_twice_a_tick_at_most() -> None:
    stage, life = await a_tenant(10)
    pods, taken = RestlessPods(1024), 0

    def clock() -> float:
        nonlocal taken
        taken += 1
        return stage.clock()

    moves = CanaryMoves(
        canaries=life.canaries, publisher=life.publisher, queue=life.queue, clock=stage.clock
    )
    watch = PreflightWatch(
        canaries=life.canaries,
        relays=cast(Relays, pods),
        moves=moves,
        publisher=life.publisher,
        watched_state=life.watched_state,
        tick_seconds=0.5,
        clock=clock,
    )
    running = asyncio.create_task(watch.run())
    await asyncio.sleep(20)
    running.cancel()
    assert pods.asked > 10 * 20 * 3
    assert 0 < taken <= 2 * 41
    await life.end()
