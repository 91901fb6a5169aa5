"""Status is written when something in it is new, and by nobody's memory but the object's own."""

from typing import Any

import pytest
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer

from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions.conditions import Condition
from relay_operator.errors import ApiServerRefused, Overtaken, Unavailable
from relay_operator.names import ConditionType, Reason

PROVIDER: dict[str, Any] = {
    "apiVersion": "relay-operator.dev/v1alpha1",
    "kind": "Provider",
    "metadata": {"name": "p"},
    "spec": {},
}
READY = Condition(type=ConditionType.READY, status="True", reason=Reason.CONFIGURED, message="ok")
NOT_READY = Condition(type=ConditionType.READY, status="False", reason=Reason.SECRET_MISSING)
STALLED = Condition(type=ConditionType.STALLED, status="True", reason=Reason.SECRET_MISSING)
MONDAY, TUESDAY = 1_780_000_000.0, 1_780_086_400.0


@pytest.fixture
def server() -> InMemoryApiServer:
    server = InMemoryApiServer()
    server.put(PROVIDER)
    return server


def shown(server: InMemoryApiServer) -> dict[str, Any]:
    return server.stored("Provider", "p")


async def test_the_first_status_has_fields_conditions_and_the_generation(
    server: InMemoryApiServer,
) -> None:
    writer = StatusWriter(server.connect())
    assert await writer.write("Provider", shown(server), {"url": "u"}, [READY], now=MONDAY)
    assert shown(server)["status"] == {
        "observedGeneration": 1,
        "url": "u",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Configured",
                "message": "ok",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-05-28T20:26:40Z",
            }
        ],
    }


async def test_the_same_status_is_not_written_again_not_even_by_a_successor(
    server: InMemoryApiServer,
) -> None:
    api = server.connect()
    writer, stale = StatusWriter(api), shown(server)
    for body in (stale, stale, shown(server)):
        await writer.write("Provider", body, {"url": "u"}, [READY], now=MONDAY)
    await StatusWriter(api).write("Provider", shown(server), {"url": "u"}, [READY], now=TUESDAY)
    assert len(api.writes) == 1


async def test_a_transition_time_moves_with_the_status_alone(server: InMemoryApiServer) -> None:
    writer = StatusWriter(server.connect())
    await writer.write("Provider", shown(server), {}, [READY], now=MONDAY)
    again = Condition(type=READY.type, status="True", reason=READY.reason, message="new words")
    await writer.write("Provider", shown(server), {}, [again], now=TUESDAY)
    [ready] = shown(server)["status"]["conditions"]
    assert (ready["message"], ready["lastTransitionTime"]) == ("new words", "2026-05-28T20:26:40Z")
    await writer.write("Provider", shown(server), {}, [NOT_READY, STALLED], now=TUESDAY)
    assert [one["lastTransitionTime"] for one in shown(server)["status"]["conditions"]] == [
        "2026-05-29T20:26:40Z"
    ] * 2


async def test_a_field_set_to_none_is_removed_once(server: InMemoryApiServer) -> None:
    api = server.connect()
    writer = StatusWriter(api)
    await writer.write("Provider", shown(server), {"url": "u"}, [READY], now=MONDAY)
    for _ in range(2):
        await writer.write("Provider", shown(server), {"url": None}, [READY], now=MONDAY)
    assert "url" not in shown(server)["status"]
    assert len(api.writes) == 2


async def test_a_new_generation_is_observed(server: InMemoryApiServer) -> None:
    writer = StatusWriter(server.connect())
    await writer.write("Provider", shown(server), {}, [READY], now=MONDAY)
    server.put({**PROVIDER, "spec": {"headers": {"x": "1"}}})
    assert await writer.write("Provider", shown(server), {}, [READY], now=MONDAY)
    assert shown(server)["status"]["observedGeneration"] == 2


async def test_an_object_made_again_starts_without_the_memory_of_the_one_before(
    server: InMemoryApiServer,
) -> None:
    writer = StatusWriter(server.connect())
    await writer.write("Provider", shown(server), {}, [READY], now=MONDAY)
    server.remove("Provider", "p")
    server.put(PROVIDER)
    assert await writer.write("Provider", shown(server), {}, [READY], now=TUESDAY)
    [ready] = shown(server)["status"]["conditions"]
    assert ready["lastTransitionTime"] == "2026-05-29T20:26:40Z"


async def test_a_forgotten_object_is_judged_by_what_the_watch_shows(
    server: InMemoryApiServer,
) -> None:
    api = server.connect()
    writer, unseen = StatusWriter(api), shown(server)
    await writer.write("Provider", unseen, {}, [READY], now=MONDAY)
    writer.forget("Provider", "", "p")
    writer.forget("Provider", "", "never-seen")
    with pytest.raises(Overtaken):
        await writer.write("Provider", unseen, {}, [READY], now=MONDAY)
    assert not await writer.write("Provider", shown(server), {}, [READY], now=MONDAY)


async def test_a_status_that_another_operator_wrote_since_stays(server: InMemoryApiServer) -> None:
    before = shown(server)
    former, later = StatusWriter(server.connect()), StatusWriter(server.connect())
    assert await former.write("Provider", before, {"url": "first"}, [READY], now=MONDAY)
    assert await later.write("Provider", shown(server), {"url": "later"}, [READY], now=MONDAY)
    with pytest.raises(Overtaken):
        await former.write("Provider", before, {"url": "late"}, [NOT_READY], now=TUESDAY)
    assert shown(server)["status"]["url"] == "later"


async def test_a_status_whose_answer_was_lost_is_not_another_operators(
    server: InMemoryApiServer,
) -> None:
    api = server.connect()
    writer, patch = StatusWriter(api), api.patch
    body = shown(server)

    async def lost(*args: Any, **kwargs: Any) -> Any:
        await patch(*args, **kwargs)
        raise Unavailable("no answer in time")

    api.patch = lost  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await writer.write("Provider", body, {"url": "u"}, [READY], now=MONDAY)
    api.patch = patch  # type: ignore[method-assign]
    # the watch has not shown it yet
    assert await writer.write("Provider", body, {"url": "v"}, [READY], now=TUESDAY)
    assert shown(server)["status"]["url"] == "v"


async def test_a_change_of_the_spec_keeps_no_status_from_being_written(
    server: InMemoryApiServer,
) -> None:
    writer, before = StatusWriter(server.connect()), shown(server)
    server.put({**PROVIDER, "spec": {"changed": True}})
    assert await writer.write("Provider", before, {"url": "first"}, [READY], now=MONDAY)
    server.put({**PROVIDER, "spec": {"changed": False}})
    assert await writer.write("Provider", before, {"url": "later"}, [READY], now=TUESDAY)
    assert shown(server)["status"]["url"] == "later"


async def test_an_object_that_is_gone_takes_no_status(server: InMemoryApiServer) -> None:
    body = shown(server)
    server.remove("Provider", "p")
    writer = StatusWriter(server.connect())
    assert not await writer.write("Provider", body, {}, [READY], now=MONDAY)


async def test_a_write_that_fails_is_not_remembered(server: InMemoryApiServer) -> None:
    api = server.connect()
    writer = StatusWriter(api)
    api.failures.unreachable = True
    with pytest.raises(Unavailable):
        await writer.write("Provider", shown(server), {}, [READY], now=MONDAY)
    api.failures.unreachable = False
    api.failures.statuses["Provider"] = 422
    with pytest.raises(ApiServerRefused):
        await writer.write("Provider", shown(server), {}, [READY], now=MONDAY)
    api.failures.statuses.clear()
    assert await writer.write("Provider", shown(server), {}, [READY], now=MONDAY)


async def test_a_change_of_our_own_beside_the_status_costs_the_next_one_no_conflict(
    server: InMemoryApiServer,
) -> None:
    api = server.connect()
    writer, watched = StatusWriter(api), shown(server)
    patch = {"metadata": {"finalizers": ["relay-operator.dev/tenant"]}}
    writer.note_own_change("Provider", await api.patch("Provider", "p", patch))
    assert await writer.write("Provider", watched, {"url": "u"}, [READY], now=MONDAY)
    assert api.reads == 0
    # what others write after it is not overwritten
    body = shown(server)
    server.put({**body, "status": {**body["status"], "url": "theirs"}})
    with pytest.raises(Overtaken):
        await writer.write("Provider", watched, {"url": "v"}, [READY], now=MONDAY)
