"""An operator killed after any single write, in every scene: tenants, providers, and routes in every phase."""

import pytest
from tests.unit.relay_operator.reconcile.killed_operator import check, play, undisturbed
from tests.unit.relay_operator.reconcile.scenes import SCENES, Scene

from relay_operator.decisions.canary.state import Phase


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_the_cluster_ends_as_if_the_operator_had_never_been_killed(scene: Scene) -> None:
    reference = undisturbed(scene)
    check(scene, reference, reference=reference)
    for number in range(1, reference.writes + 1):
        check(scene, play(scene, dies_after=number), reference=reference)


def test_a_scene_ends_in_every_phase() -> None:
    phases = {
        status["status"].get("phase")
        for scene in SCENES
        for name, status in undisturbed(scene).objects.items()
        if name.startswith("RelayRoute/")
    }
    assert phases >= {phase.value for phase in Phase}
