"""Whoever reaches the admin port has the relay ask a provider, and costs it one small call in a while, whatever is asked for."""

import asyncio
from typing import Any

from relay.process.provider_probing import ProviderProbing
from relay_contract.provider_probe import ProviderProbe


class Worker:
    """Notes what it is asked, and answers once it may."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.shown = 0

    async def ask(self, provider: str, stream: str) -> dict[str, Any]:
        self.asked.append((provider, stream))
        await self.may_answer.wait()
        found = ProviderProbe(provider=provider, outcome="Answered", streamed=bool(stream))
        return found.model_dump(mode="json", by_alias=True)

    def probing(self) -> ProviderProbing:
        return ProviderProbing(self.ask, lambda: self.shown)


async def test_models_asked_in_turn_cost_one_call() -> None:
    worker = Worker()
    probing = worker.probing()
    first = await probing.probe("canary", "gpt-4.1")
    assert (first.outcome, first.streamed) == ("Answered", True)
    for number in range(50):
        other = await probing.probe("canary", f"model-{number}")
        assert (other.outcome, other.streamed) == ("NotInUse", True)
    assert await probing.probe("canary", "gpt-4.1") == first
    assert worker.asked == [("canary", "gpt-4.1")]


async def test_models_asked_at_once_cost_one_call() -> None:
    worker = Worker()
    worker.may_answer.clear()
    probing = worker.probing()
    asking = [asyncio.create_task(probing.probe("canary", model)) for model in "aabc"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    worker.may_answer.set()
    found = [one.outcome for one in await asyncio.gather(*asking)]
    assert found == ["Answered", "Answered", "NotInUse", "NotInUse"]
    assert worker.asked == [("canary", "a")]


async def test_a_list_another_provider_and_another_document_are_asked_all_the_same() -> None:
    worker = Worker()
    probing = worker.probing()
    await probing.probe("canary", "a")
    await probing.probe("canary")
    await probing.probe("stable", "a")
    worker.shown += 1
    await probing.probe("canary", "b")
    assert worker.asked == [("canary", "a"), ("canary", ""), ("stable", "a"), ("canary", "b")]
