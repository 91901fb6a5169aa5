"""Serves tools in a pod of the cluster: `python3 -m tests.e2e.mcp_server`. Whoever is in the pod can change what it lists, and see what came."""

import threading
from typing import Any

from tests.blackbox.tool_server import Reply, ToolServer, result, serving

PORT = 9000
TOOLS = ("read_invoice", "list_orders", "pay", "draft_mail")


def tool(name: str, description: str = "") -> dict[str, Any]:
    """Returns a definition."""
    text = description or f"Does {name}."
    return {"name": name, "description": text, "inputSchema": {"type": "object"}}


class ControlledServer(ToolServer):
    """Takes two methods more, that no relay lets pass."""

    def reply(self, body: dict[str, Any]) -> Reply:
        if body["method"] == "control/describe":
            changed = tool(body["params"]["name"], body["params"]["description"])
            self.tools = [changed if one["name"] == changed["name"] else one for one in self.tools]
            return result(body, {})
        if body["method"] == "control/calls":
            return result(
                body,
                {
                    "calls": [
                        {
                            "name": asked["params"]["name"],
                            "authorization": fields.get("authorization"),
                        }
                        for fields, asked in self.requests
                        if asked["method"] == "tools/call"
                    ]
                },
            )
        return super().reply(body)


def main() -> None:
    """Serves until the pod ends."""
    server = ControlledServer(tools=[tool(name) for name in TOOLS])
    with serving(server, ("0.0.0.0", PORT)):
        threading.Event().wait()


if __name__ == "__main__":
    main()
