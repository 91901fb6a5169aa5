"""The logs of the process: JSON in a cluster, text for people."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter


def set_up(log_format: str) -> None:
    """Sends what is logged to the standard error."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        fields = "%(asctime)s %(levelname)s %(name)s %(message)s"
        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter(fields, rename_fields=names))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # kopf logs whole bodies at DEBUG and every patch at INFO; httpx every request
    for noisy in ("kopf", "httpx", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
