"""An operator that is killed after any single write leaves no trace of that once it runs again.

Writes are those to the API server and pushes to relays. These are the scenes of a tenant and of a stable route, and from
its first weight on a rollback and a canary under a refused spec, and from its first repair on a tenant whose objects
others change; tests/simulation plays all scenes.
"""

import pytest
from tests.unit.relay_operator.reconcile.killed_operator import check, play, undisturbed
from tests.unit.relay_operator.reconcile.scenes import (
    Scene,
    a_refused_spec_that_lowers_a_canary,
    a_rolled_back_route,
    a_stable_route,
    a_tenant_that_changes,
    a_tenant_whose_keys_are_rotated,
    a_tenant_whose_objects_others_change,
)

FIRST_WRITE: dict[Scene, int] = {
    a_tenant_that_changes: 1,
    a_stable_route: 1,
    a_tenant_whose_objects_others_change: 21,
    a_tenant_whose_keys_are_rotated: 21,
    a_rolled_back_route: 26,
    a_refused_spec_that_lowers_a_canary: 26,
}


@pytest.mark.parametrize("scene", FIRST_WRITE, ids=lambda scene: scene.__name__)
def test_the_cluster_ends_as_if_the_operator_had_never_been_killed(scene: Scene) -> None:
    reference = undisturbed(scene)
    check(scene, reference, reference=reference)
    assert reference.writes >= FIRST_WRITE[scene] + 5
    for number in range(FIRST_WRITE[scene], reference.writes + 1):
        check(scene, play(scene, dies_after=number), reference=reference)
