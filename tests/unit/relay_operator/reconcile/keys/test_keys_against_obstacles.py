"""API keys where something stands in the way: a Secret that takes no change, a refused spec, a silent watch, old requests."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.relay_operator.field_ownership import Manager
from tests.unit.relay_operator.in_memory_api_server import (
    InMemoryApiServer,
    ObjectKey,
)
from tests.unit.relay_operator.operator_stage import Manifest, Stage
from tests.unit.relay_operator.reconcile.keys.test_tenant_api_keys import (
    BROUGHT,
    HOUR,
    NOTICED_SECONDS,
    WEB,
    a_stage,
    accepts,
    annotate,
    credentials,
    keys,
    told,
    write,
)
from tests.unit.relay_operator.reconcile.scenes import SPACE, with_a_tenant
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.cluster.watch_stream import WatchEvent
from relay_operator.decisions.api_keys.in_force import digest_of

MANY = 40
"""Pushes within minutes, of which a handful has a reason."""
CHECK_SECONDS = 31.0


def limit_pushes(stage: Stage, most: int = MANY) -> None:
    """Fails the pushes after that many, so that an operator that pushes without end comes to a test's next line."""
    first = stage.relays.pushes

    def count() -> None:
        assert stage.relays.pushes - first <= most, "pushes without end"

    stage.relays.meanwhile = count


def make_immutable(stage: Stage, **entries: str) -> None:
    """Edits the Secret of the keys, and lets nobody edit it any more."""
    stored = stage.server.stored("Secret", names.API_KEYS_SECRET, namespace=SPACE)
    for entry, key in entries.items():
        stored["data"][entry.replace("_", ".")] = base64.b64encode(key.encode()).decode()
    stage.server.put(stored | {"immutable": True})


@in_virtual_time
async def test_a_rotation_that_an_immutable_secret_does_not_take_is_told_and_pushes_nothing() -> (
    None
):
    stage = await a_stage(keyRotation={"every": "1h", "overlap": "10m"})
    first = keys(stage)["web"]
    make_immutable(stage)
    await stage.settle(HOUR - 60.0)
    before = stage.relays.pushes
    limit_pushes(stage)
    await stage.settle(HOUR)
    assert stage.relays.pushes - before <= MANY
    assert keys(stage) == {"web": first}
    assert accepts(stage, first)
    status, reason, message = credentials(stage)
    assert (status, reason) == ("False", "SecretImmutable")
    assert "web cannot be rotated" in message
    # and comes as soon as a person put the Secret back without it
    stage.relays.meanwhile = lambda: None
    stored = stage.server.stored("Secret", names.API_KEYS_SECRET, namespace=SPACE)
    stage.server.remove("Secret", names.API_KEYS_SECRET, namespace=SPACE)
    stage.server.put({key: part for key, part in stored.items() if key != "immutable"})
    await stage.settle(60.0)
    assert keys(stage)["web.previous"] == first
    assert credentials(stage)[0] == "True"


@in_virtual_time
async def test_a_previous_key_in_an_immutable_secret_ends_although_nothing_can_be_stamped() -> None:
    stage = await a_stage(keyRotation={"overlap": "10m"})
    make_immutable(stage, web_previous="written-by-hand")
    await stage.settle(NOTICED_SECONDS)
    assert accepts(stage, "written-by-hand")
    until = told(stage)["previousUntil"]
    await stage.settle(120.0)
    assert told(stage)["previousUntil"] == until
    await stage.settle(600.0)
    assert not accepts(stage, "written-by-hand")
    assert accepts(stage, keys(stage)["web"])


@in_virtual_time
async def test_a_key_in_an_immutable_secret_keeps_its_id_so_that_it_can_be_revoked() -> None:
    stage = await a_stage()
    await stage.settle(60.0)
    make_immutable(stage, web="written-by-hand")
    await stage.settle(60.0)
    asked = told(stage)["id"]
    await stage.settle(60.0)
    assert told(stage)["id"] == asked
    assert accepts(stage, "written-by-hand")
    annotate(stage, "revoke-keys", asked)
    await stage.settle(NOTICED_SECONDS)
    assert not accepts(stage, "written-by-hand")
    await stage.settle(700.0)
    assert not accepts(stage, "written-by-hand")


def test_a_webhook_that_takes_the_stamps_out_leads_to_pauses_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @in_virtual_time
    async def play() -> None:
        stage = await a_stage(keyRotation={"every": "1h", "overlap": "10m"})
        take_out_stamps(stage, monkeypatch)
        await stage.settle(HOUR - 60.0)
        before = stage.relays.pushes
        limit_pushes(stage)
        await stage.settle(600.0)
        assert stage.relays.pushes - before <= MANY
        message = credentials(stage)[2]
        assert "Secret relay-api-keys was written, and what the API server stored" in message
        assert accepts(stage, keys(stage)["web"])

    play()


def take_out_stamps(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plays a mutating webhook that keeps annotations out of the Secret of the keys, and marks it anew each time."""
    genuine = InMemoryApiServer.patch

    def mutated(
        self: InMemoryApiServer, key: ObjectKey, patch: Manifest, manager: Manager, **more: Any
    ) -> Manifest:
        if key[0] == "Secret" and key[2] == names.API_KEYS_SECRET:
            mark = {"seen-at": str(int(stage.clock.now * 1000))}
            patch = {"metadata": {"labels": mark}, "data": patch["data"]}
        return genuine(self, key, patch, manager, **more)

    monkeypatch.setattr(InMemoryApiServer, "patch", mutated)


@in_virtual_time
async def test_requests_for_keys_act_while_the_newest_spec_is_refused() -> None:
    stage = await a_stage(apiKeys=[{"name": "web"}, {"name": "batch"}])
    stage.tenant(apiKeys=[{"name": "web"}, {"name": "batch"}], queue={"maxWait": "soon"})
    await stage.settle(5.0)
    before = dict(keys(stage))
    annotate(stage, "revoke-keys", told(stage)["id"])
    await stage.settle(NOTICED_SECONDS)
    assert not accepts(stage, before["web"])
    await stage.settle(5.0)
    assert keys(stage)["web"] != before["web"]
    assert accepts(stage, keys(stage)["web"])
    assert "KeyRevoked" in stage.events()
    annotate(stage, "rotate-keys", told(stage, "batch")["id"])
    await stage.settle(5.0)
    assert keys(stage)["batch.previous"] == before["batch"]


@in_virtual_time
async def test_a_request_waits_for_no_valid_spec_after_a_restart_either() -> None:
    stage = Stage()
    life = await stage.operator()
    await with_a_tenant(stage, apiKeys=WEB)
    stage.tenant(apiKeys=WEB, queue={"maxWait": "soon"})
    await stage.settle(5.0)
    first, asked = keys(stage)["web"], told(stage)["id"]
    await life.end()
    annotate(stage, "revoke-keys", asked)
    await stage.operator()
    await stage.settle(5.0)
    assert keys(stage)["web"] != first
    assert not accepts(stage, first)


@in_virtual_time
async def test_the_id_of_a_key_revokes_it_after_its_rotation_too() -> None:
    stage = await a_stage(keyRotation={"every": "720h", "overlap": "24h"})
    first, asked = keys(stage)["web"], told(stage)["id"]
    annotate(stage, "rotate-keys", asked)
    await stage.settle(5.0)
    second = keys(stage)["web"]
    assert accepts(stage, first)
    annotate(stage, "revoke-keys", asked)
    await stage.settle(NOTICED_SECONDS)
    assert not accepts(stage, first)
    await stage.settle(5.0)
    assert keys(stage) == {"web": second}
    assert accepts(stage, second)
    assert stage.events().count("KeyRevoked") == 1


@in_virtual_time
async def test_the_id_of_a_rotated_key_revokes_it_without_the_api_server() -> None:
    stage = Stage()
    life = await stage.operator()
    await with_a_tenant(stage, apiKeys=WEB)
    first, asked = keys(stage)["web"], told(stage)["id"]
    annotate(stage, "rotate-keys", asked)
    await stage.settle(5.0)
    life.api.failures.statuses["Secret"] = 500
    annotate(stage, "revoke-keys", asked)
    await stage.settle(NOTICED_SECONDS)
    assert not accepts(stage, first)
    assert accepts(stage, keys(stage)["web"])


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_deletion_of_digests_in_a_gap_of_the_watch_is_found_by_the_next_look(
    is_refused: bool,
) -> None:
    @in_virtual_time
    async def play() -> None:
        stage, partner = await with_a_deaf_watch()
        if is_refused:
            stage.tenant(apiKeys=BROUGHT, queue={"maxWait": "soon"})
            await stage.settle(5.0)
        stage.server.remove("Secret", names.KEY_DIGESTS_SECRET, namespace=SPACE)
        await stage.settle(CHECK_SECONDS)
        assert not accepts(stage, partner)
        assert accepts(stage, keys(stage)["web"])

    play()


@in_virtual_time
async def test_new_digests_in_a_gap_of_the_watch_are_found_and_missing_ones_are_no_news() -> None:
    stage, _ = await with_a_deaf_watch()
    write(stage, names.KEY_DIGESTS_SECRET, partner=digest_of("second"))
    await stage.settle(CHECK_SECONDS)
    assert accepts(stage, "second")
    stage.server.remove("Secret", names.KEY_DIGESTS_SECRET, namespace=SPACE)
    await stage.settle(CHECK_SECONDS)
    before = stage.relays.pushes
    await stage.settle(300.0)
    assert stage.relays.pushes == before


async def with_a_deaf_watch() -> tuple[Stage, str]:
    """Returns a stage with a key that the platform brought, and an operator whose watch of Secrets shows nothing."""

    async def silent(*_: Any, **__: Any) -> AsyncIterator[WatchEvent]:
        await asyncio.Event().wait()
        yield WatchEvent("ADDED", {})

    stage = Stage()
    life: Any = stage.life()
    life.api.watch_metadata = silent
    await life.start()
    await with_a_tenant(stage, apiKeys=WEB)
    write(stage, names.KEY_DIGESTS_SECRET, partner=digest_of("partner-key"))
    stage.tenant(apiKeys=BROUGHT)
    # until nothing of its beginning is looked at again
    await stage.settle(300.0)
    assert accepts(stage, "partner-key")
    return stage, "partner-key"
