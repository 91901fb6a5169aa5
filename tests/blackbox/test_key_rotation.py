"""During a rotation both keys of a name are accepted, and the last use of each is told by time alone."""

import json
import signal
import time

import pytest
from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.tenant import KEY, OTHER_KEY, Platform, api_key
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import request_bytes
from tests.documents import with_tenant

from relay_contract.document import Document

NEW_KEY = f"{KEY}-new"
CONNECTIONS = 24
"""On separate connections, so that both workers get some: the chance of all on one is one in eight million."""
LAST_USED = "relay_api_key_last_used_timestamp_seconds"


def rotation(platform: Platform, *, ended: bool = False) -> Document:
    """Returns a document in which the key production was replaced by a new one."""
    previous = None if ended else api_key("production", KEY).sha256
    production = api_key("production", NEW_KEY, previous_sha256=previous)
    return with_tenant(platform.document(), keys=(production, api_key("staging", OTHER_KEY)))


def last_used(relay: Relay, key: str, generation: str) -> float:
    return relay.metrics().total(LAST_USED, key=key, generation=generation)


def test_both_keys_are_accepted_in_the_overlap_and_both_are_production(
    relay: Relay, platform: Platform
) -> None:
    relay.push(rotation(platform))
    for key, generation in ((KEY, "previous"), (NEW_KEY, "current")):
        relay.chat(key=key, headers={"x-request-id": f"usage-{generation}"})
        me = relay.ask("GET", "/v1/me", key=key).json()["api_key"]
        assert (me["name"], me["generation"]) == ("production", generation)
    lines = eventually(
        lambda: [line for line in relay.output().splitlines() if '"usage"' in line],
        lambda found: (
            {"usage-previous", "usage-current"}
            <= {json.loads(line)["request_id"] for line in found}
        ),
        what="the usage of both calls",
    )
    named = {json.loads(line)["request_id"]: json.loads(line)["key"] for line in lines}
    assert named["usage-previous"] == named["usage-current"] == "production"


def test_after_the_overlap_the_old_key_is_refused_also_on_a_connection_that_used_it(
    relay: Relay, platform: Platform
) -> None:
    relay.push(rotation(platform))
    call = request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body())
    with relay.wire() as wire:
        wire.send(call)
        assert wire.answer().status == 200
        relay.push(rotation(platform, ended=True))
        wire.send(call)
        assert wire.answer().status == 401
    assert relay.chat(key=NEW_KEY).status == 200


def test_the_next_key_is_accepted_before_callers_can_know_it(
    relay: Relay, platform: Platform
) -> None:
    keys = (api_key("production", KEY, next_sha256=api_key("production", NEW_KEY).sha256),)
    relay.push(with_tenant(platform.document(), keys=keys))
    assert [relay.chat(key=key).status for key in (KEY, NEW_KEY)] == [200, 200]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_last_use_is_that_of_the_key_and_not_of_its_name(
    new_relay: NewRelay, platform: Platform, workers: str
) -> None:
    relay = new_relay(workers=workers)
    relay.push(rotation(platform))
    assert last_used(relay, "production", "previous") == 0
    before = int(time.time())
    for _ in range(CONNECTIONS):
        relay.chat(key=KEY)
    assert before - 1 <= last_used(relay, "production", "previous") <= time.time() + 1
    assert last_used(relay, "production", "current") == 0
    assert last_used(relay, "staging", "current") == 0
    relay.chat(key=OTHER_KEY, model="absent")
    assert last_used(relay, "staging", "current") >= before - 1


def test_the_last_use_outlives_the_worker_that_saw_it(
    new_relay: NewRelay, platform: Platform
) -> None:
    relay = new_relay(workers="1")
    relay.push(rotation(platform))
    relay.chat(key=KEY)
    seen = last_used(relay, "production", "previous")
    assert seen > 0
    worker = relay.process.workers()[0]
    relay.process.signal_worker(worker, signal.SIGKILL)
    eventually(
        relay.process.workers,
        lambda found: len(found) == 1 and worker not in found,
        what="another worker",
    )
    eventually(lambda: relay.ready().status, lambda status: status == 200, what="readiness")
    assert last_used(relay, "production", "previous") >= seen


def test_no_metric_holds_a_key_or_a_digest(relay: Relay, platform: Platform) -> None:
    relay.push(rotation(platform))
    relay.chat(key=KEY)
    page = relay.admin("GET", "/metrics").body.decode()
    for key in (KEY, NEW_KEY):
        assert key not in page
        assert api_key("production", key).sha256[:12] not in page
