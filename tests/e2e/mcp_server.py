"""Serves tools in a pod of the cluster: `python3 -m tests.e2e.mcp_server NAME...`, in both eras of the protocol.

Calls are answered as their argument `behave` asks. Whoever is in the pod can change what is listed, and see what came.
"""

import sys
import threading
from typing import Any

from tests.blackbox.session_server import Spoken, serving_sessions
from tests.blackbox.tool_server import Reply, result
from tests.tool_isolation.watched_server import BEHAVIOURS, WatchedServer, tool

PORT = 9000
LIST_SECONDS = 120
"""For which a list goes on that has no end."""


class ControlledServer(WatchedServer):
    """Takes three methods more, that no relay lets pass. lists is how it answers for its tools; empty: as it should."""

    lists = ""

    def reply(self, body: dict[str, Any], session: str) -> Reply | Spoken | None:
        """Returns the answer to a request."""
        method, params = body["method"], body.get("params") or {}
        if method == "control/describe":
            changed = tool(params["name"], params["description"])
            self.tools = [changed if one["name"] == changed["name"] else one for one in self.tools]
            return result(body, {})
        if method == "control/lists":
            self.lists = params["behave"]
            return result(body, {})
        if method == "control/calls":
            return result(body, {"calls": self._arrived(params["mark"])})
        if method == "tools/list" and self.lists:
            asked = {"name": "tools", "arguments": {"seconds": LIST_SECONDS}}
            return BEHAVIOURS[self.lists]({**body, "params": asked})
        return super().reply(body, session)

    def _arrived(self, mark: str) -> list[dict[str, Any]]:
        return [
            {"name": body["params"]["name"], "authorization": fields.get("authorization")}
            for _, _, fields, body in list(self.seen)
            if isinstance(body, dict)
            and body.get("method") == "tools/call"
            and body["params"].get("arguments", {}).get("mark") == mark
        ]


def main() -> None:
    """Serves until the pod ends."""
    server = ControlledServer(tools=[tool(name) for name in sys.argv[1:]])
    with serving_sessions(server, PORT, "0.0.0.0"):
        threading.Event().wait()


if __name__ == "__main__":
    main()
