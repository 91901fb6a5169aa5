"""The command relay-operator release: clears what an operator that was uninstalled left on Tenants."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from relay_operator.cluster.api_server import KubernetesApiServer
from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.errors import OperatorError
from relay_operator.reconcile.tenancy import left_behind

_DESCRIPTION = """\
Removes the operator's finalizer from Tenants, so that their deletion ends although no operator runs. A namespace that is
to stay (deletionPolicy Retain, or adopted) is released first, or, if the Tenant is not being deleted yet, keeps the relay
until it is; every other goes with its Tenant. An operator that runs
sets the finalizer again on Tenants that are not being deleted. It uses the kubeconfig's current context.
"""


def run(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="relay-operator release", description=_DESCRIPTION)
    parser.add_argument(
        "tenant", nargs="*", help="Tenants to release; all of them if none is named"
    )
    return asyncio.run(_release(frozenset(parser.parse_args(arguments).tenant)))


async def _release(wanted: frozenset[str]) -> int:
    api = await KubernetesApiServer.connect(ApiTraffic())
    count = 0
    try:
        async for line in left_behind.release(api, wanted):
            print(line)  # noqa: T201 - the answer of the command
            count += 1
    except OperatorError as error:
        print(f"not done: {error}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        await api.close()
    print(f"{count} released")  # noqa: T201
    return 0
