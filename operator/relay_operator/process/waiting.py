"""Answers on the operator's port while no life has begun: a kubelet that gets no answer would end the process, which waits for the
API server as the next one would, and have the next one's start put off.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relay_operator.cluster.discovery.targets import Targets
from relay_operator.cluster.http_endpoint import OperatorEndpoint


@asynccontextmanager
async def waiting(port: int) -> AsyncIterator[None]:
    """Serves health and metrics until the end of the block, and says that nothing else is known yet."""
    endpoint = OperatorEndpoint(targets=Targets, ailment=str, ready=asyncio.Event(), port=port)
    await endpoint.start()
    try:
        yield
    finally:
        await endpoint.stop()
