"""The command relay-operator release: clears what an operator that was uninstalled left on Tenants."""

from collections.abc import Sequence
from typing import Final

from relay_operator.cluster.api_server import KubernetesApiServer
from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.reconcile.tenancy import left_behind

SUMMARY: Final = "let Tenants be deleted after the operator was uninstalled"
DESCRIPTION: Final = """\
Removes the operator's finalizer from Tenants, so that their deletion ends although no operator runs. A namespace that is
to stay (deletionPolicy Retain, or adopted) is released first, or, if the Tenant is not being deleted yet, keeps the relay
until it is; every other goes with its Tenant. An operator that runs
sets the finalizer again on Tenants that are not being deleted. It uses the kubeconfig's current context.
"""


async def run(tenants: Sequence[str]) -> int:
    """Releases these Tenants, or all if none is named; returns the exit code. Raises OperatorError."""
    api = await KubernetesApiServer.connect(ApiTraffic())
    count = 0
    try:
        async for line in left_behind.release(api, frozenset(tenants)):
            print(line)  # noqa: T201 - the answer of the command
            count += 1
    finally:
        await api.close()
    print(f"{count} released")  # noqa: T201 - as above
    return 0
