"""Waits until the watches have shown the cluster as it is now.

Who takes over decides from status and specs as its watches showed them. A watch that lags by a moment, or is dead and not
yet noticed, would show a canary before the last step that the former leader made.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import Unavailable
from relay_operator.reconcile.watched_pods import is_relay_pod
from relay_operator.reconcile.watched_state import WatchedState

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.02
_PATIENCE_SECONDS = 5.0
"""Then the lists are read anew: an object may have gone meanwhile."""

Metadata = dict[str, Any]


async def caught_up(api: ApiServer, watched_state: WatchedState) -> None:
    """Returns once everything that is decided from has been shown; raises Unavailable when that takes too long."""
    for kind in ("Tenant", "Provider", "ToolServer", "RelayRoute"):
        await _shown(kind, await api.list_metadata(kind), watched_state)


async def lacks(api: ApiServer, kind: str, watched_state: WatchedState) -> bool:
    """Tells whether a watch has not shown what a list shows, and does not within a while either.

    Raises ApiServerRefused or Unavailable when there is no list.
    """
    for _ in range(2):
        # the second list leaves out what has gone meanwhile
        listed = await api.list_metadata(kind)
        try:
            await _shown(kind, listed, watched_state)
        except Unavailable:
            continue
        return False
    return True


async def pods_shown(api: ApiServer, watched_state: WatchedState) -> None:
    """Returns once the relay pods of known tenants have been shown, or after a while: some may have found no room.

    Raises ApiServerRefused or Unavailable when they cannot be listed.
    """
    listed = await api.list_metadata("Pod", selector=names.MANAGED_SELECTOR)
    ours = {
        one["uid"]
        for one in listed
        if is_relay_pod({"metadata": one})
        and watched_state.tenant_of_namespace(one["namespace"]) is not None
    }
    try:
        await _until("Pod", lambda: ours <= {pod.uid for pod in watched_state.pods.all()})
    except Unavailable as error:
        logger.warning("relay pods are not all shown yet", extra={"why": str(error)})


async def _shown(kind: str, listed: list[Metadata], watched_state: WatchedState) -> None:
    await _until(kind, lambda: _is_shown(kind, listed, watched_state))


async def _until(kind: str, is_shown: Callable[[], bool]) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not is_shown():  # noqa: ASYNC110 - kopf tells of no end of a list; it takes a moment, once a lead
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise Unavailable(
            f"the watch of {kind} has not shown what a list showed {_PATIENCE_SECONDS:g} s ago"
        ) from None


def _is_shown(kind: str, listed: list[Metadata], watched_state: WatchedState) -> bool:
    shown = {one["uid"]: _version(one) for one in _watched(kind, watched_state)}
    return all(shown.get(one["uid"], -1) >= _version(one) for one in listed)


def _watched(kind: str, watched_state: WatchedState) -> Iterator[Metadata]:
    match kind:
        case "Tenant":
            return watched_state.tenants.metadata()
        case "Provider":
            return watched_state.providers.metadata()
        case "ToolServer":
            return watched_state.tool_servers.metadata()
        case _:
            return watched_state.routes.metadata()


def _version(metadata: Metadata) -> int:
    # versions of one kind grow (KEP-5504)
    text = metadata.get("resourceVersion", "")
    return int(text) if text.isdigit() else 0
