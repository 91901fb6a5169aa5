"""What Prometheus is told of relay pods."""

import json
from typing import Any

from relay_operator.cluster.discovery.targets import ALL
from relay_operator.reconcile.watched_state import WatchedState


def discovered(watched_state: WatchedState) -> list[str]:
    """Returns namespace and name of each pod, in the order in which Prometheus is told of them."""
    groups: list[dict[str, Any]] = json.loads(watched_state.directory.targets.answer(ALL))
    return ["/".join((group["labels"]["namespace"], group["labels"]["pod"])) for group in groups]
