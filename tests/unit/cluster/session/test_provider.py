"""kind on Docker is used exactly where it would work, and the choice is explained."""

from dataclasses import replace

import pytest
from tests.cluster.session import provider
from tests.cluster.session.provider import Machine, decide

COMPLETE = Machine(kind="/bin/kind", kubectl="/bin/kubectl", helm="/bin/helm", docker_problem="")


def test_a_complete_machine_uses_kind() -> None:
    assert decide(COMPLETE, "") is True


@pytest.mark.parametrize(
    "machine",
    [
        replace(COMPLETE, docker_problem="docker is not installed"),
        replace(COMPLETE, kind=None),
        replace(COMPLETE, kubectl=None),
        replace(COMPLETE, helm=None),
    ],
)
def test_anything_missing_leads_to_the_embedded_cluster(machine: Machine) -> None:
    assert decide(machine, "") is False
    with pytest.raises(ValueError, match="=kind, but"):
        decide(machine, "kind")


def test_a_person_can_choose() -> None:
    assert decide(COMPLETE, "embedded") is False
    assert decide(COMPLETE, "kind") is True
    with pytest.raises(ValueError, match=provider.FORCE):
        decide(COMPLETE, "podman")
