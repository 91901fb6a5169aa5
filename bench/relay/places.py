"""The cores and ports of the benchmark's processes, and constants they share."""

import os
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    / "relay-operator"
    / "bench-relay"
)

PROXY_CPU: Final = 0
LOAD_CPU: Final = 1
"""Core of the provider and wrk; the proxy under test has a core of its own."""

UPSTREAM_PORT: Final = 19100
RELAY_PORT: Final = 19110
RELAY_ADMIN_PORT: Final = 19111
RECORDING_PORT: Final = 19112
RECORDING_ADMIN_PORT: Final = 19113
LEDGER_PORT: Final = 19114
LEDGER_ADMIN_PORT: Final = 19115
ENVOY_PORT: Final = 19120
ENVOY_DUTIES_PORT: Final = 19121
LITELLM_PORT: Final = 19130
PATH: Final = "/v1/chat/completions"
MODEL: Final = "gpt-4.1"
UPSTREAM_MODEL: Final = "gpt-4.1-2025-04-14"
API_KEY: Final = "sk-relay-bench-0123456789abcdef0123456789abcdef"

STREAM_EVENTS: Final = 33
STREAM_INTERVAL_MS: Final = 10
"""Chat answers as sent by providers: a few dozen small events."""

PYTHON: Final = "/usr/bin/python3"
"""Debian's Python 3.11, as in the image: both Python proxies run on it."""


def pinned(cpu: int, command: list[str]) -> list[str]:
    """Returns the command pinned to one core, with a higher priority if permitted; the same for every stack.

    By niceness and not as a real-time process: Linux takes 50 ms of each second from those, which would dominate p99.
    """
    prefix = ["taskset", "--cpu-list", str(cpu)]
    if os.geteuid() == 0:
        prefix += ["nice", "-n", "-19"]
    return [*prefix, *command]
