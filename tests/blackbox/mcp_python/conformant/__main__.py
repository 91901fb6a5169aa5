"""A tool server of the official SDK for Python with all that the conformance suite asks for, both eras on one path.

`python -m tests.blackbox.mcp_python.conformant PORT`. The names, URIs and texts are the suite's.
"""

import asyncio
import sys

from mcp.server.mcpserver import MCPServer, RequestStateSecurity
from tests.blackbox.mcp_python.conformant import asking, contents, resources, resuming, rounds

KEY = b"a key for states that every start of this server has"


def server() -> MCPServer:
    """Returns the server with everything in it."""
    made = MCPServer(
        "conformant", version="1.0.0", request_state_security=RequestStateSecurity(keys=[KEY])
    )
    for module in (contents, resources, asking, rounds, resuming):
        module.add_to(made)
    return made


if __name__ == "__main__":
    asyncio.run(
        server().run_streamable_http_async(
            port=int(sys.argv[1]),
            event_store=resuming.Events(),
            retry_interval=resuming.RETRY_MILLISECONDS,
        )
    )
