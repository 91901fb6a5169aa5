"""What a cluster has to have before an operator asks for the lead: the kinds that it watches, and the right to.

An operator that cannot see the cluster must not lead in place of one that can: after an upgrade without its custom resource
definitions or a part of its rights, and as a second release, which is bound to no rights (charts/relay-operator/templates/rbac.yaml).
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from prometheus_client import Gauge

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import ApiServerRefused, OperatorError

logger = logging.getLogger(__name__)

_KINDS: Final = (
    *("Tenant", "Provider", "ToolServer", "RelayRoute", "Pod", "Namespace"),
    *sorted({kind for kind, _ in names.watched_children()} - {"Namespace"}),
)
_LOOK_SECONDS: Final = 2.0
_REPEAT_SECONDS: Final = 60.0
"""Between two lines that say the same."""
_FORBIDDEN: Final = 403
_NOBODY: Final = f"{names.GROUP}/nobody=true"
"""A label that nothing has: who may list a kind is told by an answer without an object."""

_UNMET: Final = Gauge(
    "relay_operator_requirements_unmet",
    "Kinds that the cluster does not have or the operator may not see; it is not ready and asks for no lead until there is none",
)


async def are_met(api: ApiServer, *, stop: asyncio.Event) -> bool:
    """Waits until the cluster has everything, and says in the log what it lacks; False when told to stop before."""
    clock = asyncio.get_running_loop().time
    told, again = "", 0.0
    while not stop.is_set():
        lacking = await _lacking(api)
        _UNMET.set(len(lacking))
        if not lacking:
            return True
        why = "; ".join(lacking)
        if why != told or clock() >= again:
            logger.error("the operator waits for what the cluster lacks", extra={"why": why})
            told, again = why, clock() + _REPEAT_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await stop.wait()
    return False


async def _lacking(api: ApiServer) -> list[str]:
    """Returns a sentence for each kind that cannot be listed; the first one alone where nothing can be told of the others."""
    found = []
    forbidden = False
    for kind in _KINDS:
        try:
            await api.list_metadata(kind, selector=_NOBODY)
        except ApiServerRefused as error:
            forbidden |= error.status == _FORBIDDEN
            found.append(str(error))
        except OperatorError as error:
            # it is away: all others would wait for it as long
            found.append(str(error))
            break
    return [*found, _RIGHTS] if forbidden else found


_RIGHTS: Final = (
    f"rights of the whole cluster come from ClusterRoleBinding {names.OPERATOR_BINDING}, which one release in a cluster has: kubectl "
    f"describe clusterrolebinding {names.OPERATOR_BINDING}. If it names another account, a Relay Operator runs already, and this "
    "release is to be removed by deleting its namespace (kubectl delete -f would take the other's objects of the same names); "
    "otherwise install the chart of this version anew"
)
