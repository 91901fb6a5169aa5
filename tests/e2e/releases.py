"""The revisions of the session's Helm release: which one is in force, and the way back to another."""

import json
from typing import Final

from tests.demo import stage
from tests.demo.commands import Cluster

RELEASE: Final = ("relay-operator", "-n", stage.OPERATOR_NAMESPACE)
BEFORE: Final = 0
"""Helm's number for the revision before the one in force."""


def revision(cluster: Cluster) -> int:
    """Returns the number of the revision in force."""
    return int(json.loads(cluster.helm("history", *RELEASE, "-o", "json"))[-1]["revision"])


def roll_back(cluster: Cluster, number: int = BEFORE) -> None:
    """Takes the release back as Helm does it: the former chart and its values, and the custom resources as they are."""
    name, *space = RELEASE
    cluster.helm("rollback", name, str(number), *space, "--wait", "--timeout", "110s")
