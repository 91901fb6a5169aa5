"""kind on Docker is used exactly where it works, and the reason is given."""

from dataclasses import replace

import pytest
from tests.cluster.session import provider
from tests.cluster.session.provider import Machine, decide

COMPLETE = Machine(kind="/bin/kind", kubectl="/bin/kubectl", helm="/bin/helm", docker_problem="")


def test_a_machine_with_docker_and_kind_uses_kind() -> None:
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
def test_a_machine_without_one_of_them_uses_the_embedded_cluster(machine: Machine) -> None:
    assert decide(machine, "") is False
    with pytest.raises(ValueError, match="=kind, but"):
        decide(machine, "kind")


def test_the_environment_overrides_the_choice() -> None:
    assert decide(COMPLETE, "embedded") is False
    assert decide(COMPLETE, "kind") is True
    with pytest.raises(ValueError, match=provider.FORCE):
        decide(COMPLETE, "podman")
