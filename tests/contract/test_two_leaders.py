"""Two leaders forced on a real API server, by hands that write to the Lease or delete it: what the former one still sends changes nothing."""

import json
import signal

import pytest
from tests.contract.led_tenants import Climbing
from tests.contract.operators import Operators
from tests.contract.referee import Referee

from relay_operator import names

STEP = 40


def write_into_the_lease(at: Operators, holder: str, mark: str | None = None) -> None:
    """Writes another holder into the Lease, and the mark by which a leader gives it back."""
    annotations = {names.ANNOTATION_RELEASED: mark}
    patch = {"metadata": {"annotations": annotations}, "spec": {"holderIdentity": holder}}
    where = (names.LEADER_LEASE, "-n", at.namespace)
    at.kubectl("patch", "lease", *where, "--type=merge", "-p", json.dumps(patch))


def late_pushes(referee: Referee) -> list[str]:
    """Returns of each push of a leader of the past how the pod refused it; empty for one that it has taken."""
    highest, found = 0, []
    for one in [*referee.pushes]:
        if one.number < highest:
            found.append(one.refused)
        highest = max(highest, one.number)
    return found


@pytest.mark.timeout(300)
def test_of_two_leaders_the_pods_obey_the_later_one(
    refereed_operators: Operators, referee: Referee
) -> None:
    at = refereed_operators
    at.settings["lease_seconds"] = "4"
    both = [at.start(), at.start()]
    first = at.leader()
    [second] = [one for one in both if one is not first]
    tenant = Climbing(at, referee=referee, address=referee.addresses[0])
    tenant.begin(11)
    tenant.climb(step_percent=STEP)
    tenant.reaches(STEP)
    at.until("a standby", second.is_ready, bool)

    # a hand gives the Lease back in the leader's place, which stands still and believes to lead when it goes on
    first.signal(signal.SIGSTOP)
    write_into_the_lease(at, "", mark="1")
    assert at.leader(other_than=first.name) is second
    tenant.apply(12)
    tenant.pod_has(12)
    first.signal(signal.SIGCONT)
    at.until("its notice", first.output, lambda seen: "lead lost" in seen)

    # a hand takes it for somebody who does not exist: nobody acts until that one's lease is over
    write_into_the_lease(at, "nobody_0")
    at.until("its notice", second.output, lambda seen: "lead lost" in seen)
    third = at.leader(other_than="nobody")
    tenant.apply(13)
    tenant.pod_has(13)

    # and one that is deleted while its leader stands still goes to another one
    other = first if third is second else second
    third.signal(signal.SIGSTOP)
    at.kubectl("delete", "lease", names.LEADER_LEASE, "-n", at.namespace)
    assert at.leader(other_than=third.name) is other
    tenant.apply(14)
    tenant.pod_has(14)
    third.signal(signal.SIGCONT)
    tenant.is_promoted()
    tenant.has_climbed_by_its_steps(STEP)
    tenant.is_stored_as_in_force()
    late = late_pushes(referee)
    assert set(late) <= {"stale_epoch"}
    print(f"{len(late)} pushes of leaders of the past")
