"""The logs of the process: JSON in a cluster, text for people."""

import asyncio
import logging
import sys
import time
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter

from relay_contract.log_lines.repeated_lines import RepeatedLines

BURST: Final = 20
"""Lines of one place in the code that are written at once: an outage tells of so many objects, and of the others how many there are."""
_TICK_SECONDS: Final = 1.0


class BoundedHandler(logging.Handler):
    """Hands records on to another handler, of one place and level no more than a burst and then a line an interval."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._repeated = RepeatedLines(self._write)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, or counts it."""
        # by its place: a library may put all kinds of things into a message
        place = f"{record.name}:{record.lineno}"
        told = {"record": record}
        self._repeated.note(time.monotonic(), record.levelname, place, told, by=(), burst=BURST)

    def tick(self, now: float) -> None:
        """Writes what was counted; call it about once a second, with a monotonic clock."""
        self._repeated.tick(now)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        match fields:
            case {"record": record, "times": times}:
                self._handler.handle(logging.makeLogRecord({**vars(record), "times": times}))
            case {"record": record}:
                self._handler.handle(record)
            case _:
                self._handler.handle(_end_of(event, level, fields))


def _end_of(event: str, level: str, fields: dict[str, Any]) -> logging.LogRecord:
    told = {"name": __name__, "levelno": logging.INFO, "levelname": level.upper()}
    message = f"no more lines of {event.removesuffix('_over')}"
    return logging.makeLogRecord({**told, "msg": message, **fields})


async def tell_repeated() -> None:
    """Writes what was counted of lines that came again and again, until it is cancelled."""
    while True:
        await asyncio.sleep(_TICK_SECONDS)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, BoundedHandler):
                handler.tick(time.monotonic())


def set_up(log_format: str) -> None:
    """Sends what is logged to the standard error."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        fields = "%(asctime)s %(levelname)s %(name)s %(message)s"
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter(fields, rename_fields=names))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[BoundedHandler(handler)])
    # kopf logs whole bodies at DEBUG and every patch at INFO; httpx every request
    for noisy in ("kopf", "httpx", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
