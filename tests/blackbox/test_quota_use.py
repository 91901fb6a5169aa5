"""The admin port tells how much of each provider's quota the pod uses of what it holds."""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.blackbox.relays import Relay
from tests.blackbox.tenant import Platform
from tests.blackbox.waiting import eventually

from relay_contract.document import ProviderLimits
from relay_contract.endpoints import QUOTA_USE_PATH
from relay_contract.quota_use import QuotaUses


def told(relay: Relay, *, seen: str = "", wait: int = 0) -> QuotaUses:
    answer = relay.admin("GET", f"{QUOTA_USE_PATH}?seen={seen}&wait={wait}")
    assert answer.status == 200, answer
    return QuotaUses.model_validate_json(answer.body)


def levels(relay: Relay) -> dict[str, str]:
    return {one.provider: one.level for one in told(relay).uses}


def with_quota(relay: Relay, platform: Platform, requests_per_minute: int | None) -> None:
    limits = ProviderLimits(requests_per_minute=requests_per_minute)
    first, *others = platform.providers()
    relay.push(platform.document(providers=[first.model_copy(update={"limits": limits}), *others]))


def test_a_quota_that_calls_wait_for_is_short_and_is_not_for_ever(
    relay: Relay, platform: Platform
) -> None:
    with_quota(relay, platform, None)
    eventually(lambda: levels(relay), lambda seen: seen == {}, what="no quota")
    with_quota(relay, platform, 600)
    usual = eventually(lambda: told(relay), lambda seen: bool(seen.uses), what="a level")
    assert [one.level for one in usual.uses] == ["Usual"]
    began = time.monotonic()
    # the answer waits for a change, and comes with it
    with ThreadPoolExecutor(1) as asking:
        waited = asking.submit(told, relay, seen=usual.tag, wait=15)
        while not waited.done() and time.monotonic() - began < 15:
            relay.chat()
        assert {one.level for one in waited.result().uses} <= {"Busy", "Short"}
    eventually(
        lambda: levels(relay),
        lambda seen: set(seen.values()) == {"Usual"},
        within_seconds=60,
        what="a level of little use again",
    )
