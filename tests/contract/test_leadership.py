"""Two operator processes on a real API server: one acts, and another one goes on when it is killed, ended, stopped or its
Lease deleted. The referees are the Lease and the versions of everything that they write.
"""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cluster.session.clients import Client
from tests.contract.led_tenants import LedTenant
from tests.contract.operators import operators

from relay_operator import names
from relay_operator.decisions.leadership import lease as leases

LEASE = ("lease", names.LEADER_LEASE)


def versions(tenant: LedTenant) -> dict[str, str]:
    """Returns the version of everything that operators alone write; a status follows what the cluster does as well."""
    kinds = "configmaps,secrets,services,networkpolicies,serviceaccounts"
    items = tenant.operators.kubectl.json("get", kinds, "-n", tenant.space)["items"]
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for one in items
        # by the cluster, of itself
        if one["metadata"]["name"] != "kube-root-ca.crt"
    }


@pytest.mark.timeout(400)
def test_another_operator_goes_on_whatever_happens_to_the_leader(
    kubectl: Client, crds: None, namespace: str, tmp_path: Path
) -> None:
    with operators(kubectl, namespace, tmp_path) as at:
        tenant = LedTenant(at)
        at.start()
        at.start()
        first = at.leader()
        assert tenant.acts(11)["epoch"] == at.lease()["leaseTransitions"] == 1
        # the API server tells when it stored a renewal, by which a later leader compares clocks
        stored = leases.read(kubectl.json("get", *LEASE, "-n", namespace, "--show-managed-fields"))
        assert abs(stored.renewed_at - stored.stored_at) < 5

        # ended in order: it gives the Lease back
        first.signal(signal.SIGTERM)
        began = time.monotonic()
        second = at.leader(other_than=first.name)
        ended = time.monotonic() - began
        assert first.ends() == 0
        assert tenant.acts(12)["epoch"] == 2
        assert "Traceback" not in first.output()

        # killed
        at.start()
        second.signal(signal.SIGKILL)
        began = time.monotonic()
        third = at.leader(other_than=second.name)
        killed = time.monotonic() - began
        assert tenant.acts(13)["epoch"] == 3

        # its Lease deleted: it goes on
        kubectl("delete", *LEASE, "-n", namespace)
        at.until("a Lease", at.holder, bool)
        assert at.holder() == third.name
        assert tenant.acts(14)["epoch"] == 3

        # stopped, in the middle of a change, and continued
        at.start()
        tenant.apply(15)
        third.signal(signal.SIGSTOP)
        began = time.monotonic()
        at.leader(other_than=third.name)
        stopped = time.monotonic() - began
        assert tenant.acts(16)["epoch"] == 4
        before = at.until("quiet", _twice(lambda: versions(tenant)), bool)
        third.signal(signal.SIGCONT)
        at.until("its notice", third.output, lambda seen: "lead lost" in seen)
        # what it would still write has this time to arrive
        time.sleep(4)
        assert versions(tenant) == before
        assert at.holder() != third.name
        assert tenant.acts(17)["epoch"] == 4
        print(f"ended {ended:.1f} s, killed {killed:.1f} s, stopped {stopped:.1f} s")


def _twice(look: Callable[[], dict[str, str]]) -> Callable[[], dict[str, str]]:
    """Returns a look that shows something only where it is the same as two seconds ago."""

    def twice() -> dict[str, str]:
        before = look()
        # quiet is what stays the same for so long
        time.sleep(2)
        return before if look() == before else {}

    return twice
