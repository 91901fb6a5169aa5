"""The events of a watch, out of the bytes in which they arrive."""

import json
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from relay_operator.errors import ApiServerRefused, Unavailable

_LONGEST_LINE: Final = 4 * 1024 * 1024
"""Metadata of one object: the API server takes 256 KiB of annotations (TotalAnnotationSizeLimitB)."""
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """Tells what happened to one object: ADDED, MODIFIED, DELETED, or BOOKMARK for nothing but a newer version."""

    type: str
    metadata: dict[str, Any]

    @property
    def version(self) -> str:
        """The version from which a watch goes on after this event."""
        return str(self.metadata.get("resourceVersion", ""))


async def events(pieces: AsyncIterable[bytes], *, what: str) -> AsyncIterator[WatchEvent]:
    """Goes through the events of a stream of JSON lines.

    Raises ApiServerRefused with status 410 where the watch has to begin anew, Unavailable for what is no stream of events.
    """
    async for line in _lines(pieces, what):
        try:
            event = json.loads(line)
            type_, shown = event["type"], event["object"]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise Unavailable(f"{what}: a line of the watch is no event") from error
        if not isinstance(shown, dict):
            raise Unavailable(f"{what}: an event of the watch has no object")
        if type_ == "ERROR":
            raise _error(shown, what)
        metadata = shown.get("metadata")
        yield WatchEvent(str(type_), metadata if isinstance(metadata, dict) else {})


def _error(status: dict[str, Any], what: str) -> Exception:
    message = f"{what}: the watch has ended: {str(status.get('message', ''))[:200]}"
    if status.get("code") == _GONE:
        return ApiServerRefused(message, status=_GONE)
    return Unavailable(message)


async def _lines(pieces: AsyncIterable[bytes], what: str) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(rest) > _LONGEST_LINE:
            raise Unavailable(f"{what}: an event is longer than {_LONGEST_LINE} bytes")
