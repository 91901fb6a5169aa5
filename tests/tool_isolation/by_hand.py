"""Rows 6, 9, 10: what the operator of a gateway does while calls run. Each needs its part of ByHand."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.tool_isolation.callers import Client
from tests.tool_isolation.findings import Findings
from tests.tool_isolation.gateway import Gateway, names, new_mark, was_answered, was_refused

REVOKED_WITHIN_SECONDS: Final = 1.0
MOST_CALLS: Final = 200
AT_REST_SECONDS: Final = 15.0


def a_revoked_tool_is_refused_at_once(gateway: Gateway, found: Findings) -> None:
    """Row 6: a tool that is taken away between list and call, in an open session, is refused, for this tenant alone."""
    if gateway.by_hand.revoke is None:
        found.leave_out("nothing was given that takes a tool away")
        return
    for one, _ in gateway.clients:
        found.expect(gateway.one.tool in names(one), f"{one.era.value}: the tool is not listed")
    gateway.by_hand.revoke()
    until = time.monotonic() + REVOKED_WITHIN_SECONDS
    for one, other in gateway.clients:
        era = one.era.value
        while gateway.works(one, gateway.one.tool) and time.monotonic() < until:
            time.sleep(0.05)
        mark = new_mark()
        answer = one.call(gateway.one.tool, mark=mark)
        found.expect(
            was_refused(answer) and not gateway.server.executed(mark),
            f"{era}: {REVOKED_WITHIN_SECONDS:g} s after it was taken away a tool is called",
        )
        found.expect(
            gateway.one.tool not in names(one), f"{era}: a tool that was taken away is listed"
        )
        found.expect(gateway.works(one, gateway.one.shared), f"{era}: the other tools went with it")
        found.expect(
            gateway.works(other, gateway.other.tool), f"{era}: the other tenant's tool is refused"
        )


def limits_are_ones_own(gateway: Gateway, found: Findings) -> None:
    """Row 9: a tenant that used up its rate leaves the other's whole, and is told when to come again."""
    if gateway.by_hand.limit is None:
        found.leave_out("nothing was given that limits the rate of calls")
        return
    gateway.by_hand.limit()
    for one, other in gateway.clients:
        for _ in range(MOST_CALLS):
            answer = one.call(gateway.one.shared, mark=new_mark())
            if answer.status == 429:
                break
        era = one.era.value
        if found.expect(answer.status == 429, f"{era}: no limit was met in {MOST_CALLS} calls"):
            found.expect(
                (answer.header("retry-after") or "").isdigit(),
                f"{era}: a limited call is not told when to come again",
            )
        found.expect(
            gateway.works(other, gateway.other.tool),
            f"{era}: one tenant's calls use up the other's rate",
        )
        # denied names must not be told from unknown ones by what is left of a rate
        answers = [one.call(name).body for name in (gateway.denied, gateway.unknown)]
        found.expect(
            answers[0].replace(gateway.denied.encode(), b"NAME")
            == answers[1].replace(gateway.unknown.encode(), b"NAME"),
            f"{era}: a used-up rate tells denied from unknown",
        )


def every_call_is_recorded_once(gateway: Gateway, found: Findings) -> None:
    """Row 10: calls that were answered, failed and were denied have one record each."""
    records = gateway.by_hand.records
    if records is None:
        found.leave_out("the records of the gateway were not given")
        return
    for one, _ in gateway.clients:
        before = Counter(_at_rest(records))
        calls = _three_calls(gateway, one)
        until = time.monotonic() + 5
        while len(records()) < before.total() + len(calls) and time.monotonic() < until:
            time.sleep(0.05)
        # nothing more comes after
        time.sleep(0.3)
        lines = list((Counter(records()) - before).elements())
        for name in calls:
            told = [line for line in lines if name in line]
            found.expect(
                len(told) == 1, f"{one.era.value}: a call of {name} has {len(told)} records"
            )


def _at_rest(records: Callable[[], list[str]]) -> list[str]:
    """Returns the records once a second has gone by without a new one: calls that earlier rows left hanging end late."""
    seen, since = records(), time.monotonic()
    until = since + AT_REST_SECONDS
    while time.monotonic() - since < 1 and time.monotonic() < until:
        time.sleep(0.1)
        if (now := records()) != seen:
            seen, since = now, time.monotonic()
    return seen


def _three_calls(gateway: Gateway, client: Client) -> list[str]:
    mark = new_mark()
    assert was_answered(client.call(gateway.one.tool, mark=mark), mark)
    client.call(gateway.one.shared, mark=mark, behave="crash")
    client.call(gateway.denied, mark=mark)
    return [gateway.one.tool, gateway.one.shared, gateway.denied]
