"""What a webhook's receiver hears of a route's canary: every move once, in order, also of an operator that was restarted."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.cluster.webhook.sender import Receiver, Webhook

CANARY = {
    "provider": "new",
    "percent": 100,
    "progression": {"stepPercent": 50, "every": "10s", "minRequests": 20},
}
ANALYSIS = {"minRequests": 10, "errorRate": {"maxPercent": 1}}


class Heard(httpx.AsyncBaseTransport):
    """A receiver that keeps what it hears."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.ids: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self._hangs = hangs

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._hangs:
            await asyncio.sleep(3600)
        self.ids.append(request.headers["webhook-id"])
        self.messages.append(json.loads(request.content))
        return httpx.Response(204)

    def types(self) -> list[str]:
        return [one["type"].removeprefix("relayroute.") for one in self.messages]


@pytest.fixture
def secret_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    # nothing would wake a loop in virtual time when a thread is done
    async def at_once(function: Any, *args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    file = tmp_path / "secret"
    file.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    return str(file)


def hears(stage: Stage, transport: Heard, secret_file: str) -> "asyncio.Task[None]":
    """Gives the stage's next operator a webhook."""
    receiver = Receiver(url="http://receiver.test/hook", secret_file=secret_file)
    stage.webhook = Webhook(receiver, clock=stage.clock, transport=lambda _: transport)
    return asyncio.create_task(stage.webhook.run())


async def a_canary(stage: Stage) -> tuple[Life, dict[str, Any]]:
    life = await stage.operator_of_a_tenant("legacy", "new")
    route = stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    stage.serve(route, 0)
    await stage.settle()
    return life, route


async def ended(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@in_virtual_time
async def test_every_move_is_told_once_and_as_the_events_tell_it(secret_file: str) -> None:
    stage, heard = Stage(), Heard()
    sending = hears(stage, heard, secret_file)
    life, route = await a_canary(stage)
    for _ in range(3):
        stage.serve(route, 50)
        await stage.settle(12)
    assert heard.types() == ["started", "step_passed", "promoted"]
    assert sorted(one["data"]["reason"] for one in heard.messages) == sorted(stage.moves())
    promoted = heard.messages[-1]["data"]
    assert (promoted["tenant"], promoted["route"]) == ("finance", "chat")
    assert promoted["phase"] == "Promoted"
    assert promoted["weights"] == {"stablePercent": 0, "canaryPercent": 100}
    assert (promoted["stable"], promoted["canary"]) == ("legacy", "new")
    assert len(set(heard.ids)) == 3
    await life.end()
    await ended(sending)


@in_virtual_time
async def test_a_rollback_is_told_with_its_figures(secret_file: str) -> None:
    stage, heard = Stage(), Heard()
    sending = hears(stage, heard, secret_file)
    life, route = await a_canary(stage)
    await stage.fail(route)
    await stage.settle()
    assert heard.types() == ["started", "rolled_back"]
    data = heard.messages[-1]["data"]
    assert data["weights"] == {"stablePercent": 100, "canaryPercent": 0}
    assert "requests failed" in data["message"]
    [errors] = [row for row in data["evidence"] if row["name"] == "Errors"]
    assert " of " in errors["evidence"]
    await life.end()
    await ended(sending)


@in_virtual_time
async def test_a_restarted_operator_tells_recent_moves_under_the_same_ids(secret_file: str) -> None:
    stage, first, second = Stage(), Heard(), Heard()
    sending = hears(stage, first, secret_file)
    life, route = await a_canary(stage)
    await stage.fail(route)
    await stage.settle()
    await life.end()
    again = hears(stage, second, secret_file)
    life = await stage.operator()
    await stage.settle(20)
    assert second.ids == first.ids
    await life.end()
    await ended(sending, again)


@in_virtual_time
async def test_a_receiver_that_hangs_delays_no_rollback(secret_file: str) -> None:
    stage = Stage()
    sending = hears(stage, Heard(hangs=True), secret_file)
    life, route = await a_canary(stage)
    await stage.fail(route)
    await stage.settle(2)
    assert stage.relays.weight("relay-1", "chat", namespace="relay-finance") == 0
    assert stage.status("RelayRoute", "chat", tenant="finance")["phase"] == "RolledBack"
    assert "SloBreach" in stage.moves()
    await life.end()
    await ended(sending)
