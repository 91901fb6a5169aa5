"""Operators of shards on a real API server: each Tenant is exactly one operator's, and one that changes hands goes on where it stood."""

import json
import signal

import pytest
from tests.contract.led_tenants import Climbing, LedTenant
from tests.contract.operators import Operator, Operators
from tests.contract.referee import Referee

from relay_contract import endpoints

SHARD = "premium"
PREMIUM = {"tier": "premium"}
STEP = 5
METRIC = "relay_operator_tenant_ready"


def shards(selector: str) -> str:
    return json.dumps([{"name": SHARD, "tenantSelector": selector}])


def whose(at: Operators, *tenants: LedTenant) -> list[set[str]]:
    """Returns of each Tenant the operators that act for it: a leader tells its own in its metrics, and a standby none."""
    running = [one for one in at.started.values() if one.process.poll() is None]
    pages = {one.name: one.page(endpoints.METRICS_PATH) for one in running}
    lines = [f'{METRIC}{{namespace="{one.space}",tenant="{one.name}"}}' for one in tenants]
    return [{name for name, page in pages.items() if line in page} for line in lines]


def each_is_led(at: Operators, *expected: tuple[LedTenant, Operator]) -> None:
    """Waits until each Tenant is the operator's that is named with it, and nobody else's."""
    at.until(
        "an operator for each",
        lambda: whose(at, *(tenant for tenant, _ in expected)),
        lambda seen: seen == [{operator.name} for _, operator in expected],
    )


@pytest.mark.timeout(300)
def test_each_tenant_is_one_operators_and_a_climb_goes_on_from_hand_to_hand(
    refereed_operators: Operators, referee: Referee
) -> None:
    at = refereed_operators
    at.settings["lease_seconds"] = "3"
    listed = shards("tier=premium")
    main, premium = at.start(shards=listed), at.start(shards=listed, shard=SHARD)
    assert at.leader() is main
    assert at.leader(shard=SHARD) is premium
    moving = Climbing(at, referee=referee, address=referee.addresses[0])
    staying = LedTenant(at)
    moving.begin(11)
    staying.acts(11, **PREMIUM)
    each_is_led(at, (moving, main), (staying, premium))
    moving.climb(step_percent=STEP)
    moving.reaches(STEP)

    # from hand to hand and back, while the canary climbs; whose it was stands still, and has no part in the next step
    for depth, labels, former in ((12, PREMIUM, main), (13, {}, premium)):
        moving.apply(depth, **labels)
        moving.pod_has(depth)
        former.signal(signal.SIGSTOP)
        moving.reaches(moving.weight + STEP)
        former.signal(signal.SIGCONT)
    each_is_led(at, (moving, main), (staying, premium))

    # another list: operators with it stand by before those with the former one end
    listed = shards("tier=gold")
    new = [at.start(shards=listed), at.start(shards=listed, shard=SHARD)]
    for one in (main, premium):
        one.signal(signal.SIGTERM)
        assert one.ends() == 0
    assert at.leader(other_than=main.name) is new[0]
    assert at.leader(other_than=premium.name, shard=SHARD) is new[1]
    moving.reaches(moving.weight + STEP)
    staying.acts(14, **PREMIUM)
    each_is_led(at, (moving, new[0]), (staying, new[0]))
    moving.acts(15, tier="gold")
    each_is_led(at, (moving, new[1]), (staying, new[0]))
    moving.has_climbed_by_its_steps(STEP)
    moving.is_stored_as_in_force()
