"""Kubernetes Events: one for each move, and never a reason for a reconcile to fail."""

import logging
from dataclasses import replace

import pytest
from tests.unit.relay_operator.in_memory_api_server import Connection, InMemoryApiServer

from relay_operator.cluster.events import EventRecorder
from relay_operator.decisions.route_status import Move

ROUTE = {"metadata": {"name": "chat", "namespace": "default", "uid": "u-1"}}
MOVE = Move(at=1_780_000_000.25, reason="StepPassed", message="to 25 %", canary_percent=25)
BREACH = Move(at=1_780_000_001.0, reason="SloBreach", message="errors", canary_percent=0)


@pytest.fixture
def server() -> InMemoryApiServer:
    return InMemoryApiServer()


async def announce(api: Connection, move: Move, body: dict[str, object] | None = None) -> None:
    recorder = EventRecorder(api, instance="operator-1")
    await recorder.announce(body or ROUTE, kind="RelayRoute", action="Move", move=move)


async def test_a_move_becomes_an_event_about_its_object(server: InMemoryApiServer) -> None:
    await announce(server.connect(), MOVE)
    [event] = server.list("Event", namespace="default")
    assert (event["reason"], event["message"], event["type"]) == ("StepPassed", "to 25 %", "Normal")
    assert event["eventTime"] == "2026-05-28T20:26:40.250000Z"
    # kubectl describe sorts by it
    assert event["lastTimestamp"] == "2026-05-28T20:26:40Z"
    assert event["involvedObject"] == {
        "apiVersion": "relay-operator.dev/v1alpha1",
        "kind": "RelayRoute",
        "name": "chat",
        "namespace": "default",
        "uid": "u-1",
    }


async def test_a_breach_is_a_warning(server: InMemoryApiServer) -> None:
    await announce(server.connect(), BREACH)
    assert server.list("Event")[0]["type"] == "Warning"


async def test_the_same_move_is_posted_once(server: InMemoryApiServer) -> None:
    await announce(server.connect(), MOVE)
    successor = server.connect()
    await announce(successor, MOVE)
    assert len(server.list("Event")) == 1
    assert successor.writes == []


async def test_events_of_cluster_scoped_objects_go_to_the_default_namespace(
    server: InMemoryApiServer,
) -> None:
    await announce(server.connect(), MOVE, {"metadata": {"name": "finance", "uid": "u-2"}})
    [event] = server.list("Event")
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["involvedObject"]


async def test_a_lost_event_is_logged_and_forgotten(
    server: InMemoryApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api = server.connect()
    api.failures.unreachable = True
    with caplog.at_level(logging.WARNING):
        await announce(api, MOVE)
    assert caplog.messages == ["event not posted"]


async def test_a_message_is_cut_where_the_api_server_would_refuse_it(
    server: InMemoryApiServer,
) -> None:
    await announce(server.connect(), replace(MOVE, message="ü" * 1024))
    [event] = server.list("Event")
    assert event["message"] == "ü" * 510 + "…"
    assert len(event["message"].encode()) <= 1024
