"""The paths that the relay answers."""

from enum import StrEnum
from typing import Final


class Endpoint(StrEnum):
    """A kind of call that a provider answers; the value is the label in metrics and logs."""

    CHAT = "chat.completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RESPONSES = "responses"

    @property
    def suffix(self) -> str:
        """Returns the path below the provider's base URL."""
        return "/" + self.value.replace(".", "/")

    @property
    def takes_stream_options(self) -> bool:
        """Returns whether a stream reports usage only when asked to."""
        return self in (Endpoint.CHAT, Endpoint.COMPLETIONS)


CALLS: Final = {b"/v1" + endpoint.suffix.encode(): endpoint for endpoint in Endpoint}
EMBEDDINGS: Final = Endpoint.EMBEDDINGS
RESPONSES: Final = Endpoint.RESPONSES
MODELS: Final = b"/v1/models"
MODEL: Final = b"/v1/models/"
ME: Final = b"/v1/me"
USAGE_REPORT: Final = b"/v1/usage/report"
USAGE_HISTORY: Final = b"/v1/usage/history"
USAGE_ALERTS: Final = b"/v1/usage/alerts"

MCP: Final = b"/mcp"
MCP_LABEL: Final = "mcp"
"""Stands in metrics for messages to tool servers."""

OTHER: Final = "other"
"""Stands in metrics for every path that takes no calls."""
