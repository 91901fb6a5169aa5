"""`python -m bench.tenants.etcd_port`: passes connections to a port of the node on to its etcd, which listens to the node alone."""

import asyncio
import contextlib
import sys
from typing import Final
from urllib.parse import urlsplit

from tests.cluster.node.components import ETCD_CLIENT

PORT: Final = 9002
_PIECE: Final = 2**18


async def _passed_on(from_caller: asyncio.StreamReader, to_caller: asyncio.StreamWriter) -> None:
    etcd = urlsplit(ETCD_CLIENT)
    from_etcd, to_etcd = await asyncio.open_connection(etcd.hostname, etcd.port)
    await asyncio.gather(_pass(from_caller, to_etcd), _pass(from_etcd, to_caller))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError), contextlib.closing(writer):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()


async def main() -> None:
    """Serves until killed; prints a line when it does."""
    server = await asyncio.start_server(_passed_on, "0.0.0.0", PORT)
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
