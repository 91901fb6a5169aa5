"""`python -m bench.slo.prometheus ROUTES`: answers range queries about the relay pods of many routes, as Prometheus does.

Every pod is scraped every two seconds in a phase of its own and has the labels that the operator's service discovery gives
it. The series are selected by the matchers of the query; the counters rise with time. It prints the port it listens on.
"""

import http.server
import re
import sys
import time
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.unit.relay_operator.relay_counters import RelayCounters

PODS: Final = 3
SCRAPE_SECONDS: Final = 2.0
LATE_SECONDS: Final = 0.05
_MATCHER: Final = re.compile(r'(\w+)(=~|=)"((?:[^"\\]|\\.)*)"')
_RISING: Final = re.compile(r"relay_slo_attempts_(started|finished|timed)_total")
STABLE, CANARY = "a" * 12, "b" * 12


def namespace(route: int) -> str:
    """Returns the namespace of a route, which has it for itself."""
    return f"relay-tenant-{route:04}"


def pod(route: int, number: int) -> str:
    """Returns the name of one of its pods."""
    return f"relay-6f7c9d8b5-{route:04}{number}"


class Target:
    """A scraped pod: its series without values, by the query that selects them."""

    def __init__(self, route: int, number: int) -> None:
        counters = RelayCounters(pod(route, number), namespace(route))
        for side in (("chat", "stable", STABLE), ("chat", "canary", CANARY)):
            counters.count(side)
        counters.breakers["chat", CANARY] = 0
        more = {
            "instance": f"10.0.{route % 250}.{number}:8081",
            "pod_uid": f"0d4e6f6a-9e1b-4a53-9d5c-{route:010}{number:02}",
            "relay_operator_scrape": "slo",
            "tenant": f"tenant-{route:04}",
        }
        own = {"tenant_uid": f"5b8c2a7e-1f0d-4c6b-8a9e-{route:012}"}
        self.series = [
            labels | more | (own if "route" in labels else {}) for labels, _ in counters.page()
        ]
        self.phase = (route * PODS + number) * 0.6180339887 % 1 * SCRAPE_SECONDS
        self._chosen: dict[str, list[tuple[bytes, bool | None]]] = {}

    def answer(self, selector: str, matchers: list[tuple[str, Any]], lookback: float) -> bytes:
        """Returns the selected series with the scrapes that can be read now."""
        chosen = self._chosen.get(selector)
        if chosen is None:
            chosen = self._chosen[selector] = [
                (_prefix(labels), _rises(labels))
                for labels in self.series
                if all(pattern.fullmatch(labels.get(name, "")) for name, pattern in matchers)
            ]
        now = time.time()
        newest = int((now - LATE_SECONDS - self.phase) / SCRAPE_SECONDS)
        stamps = [
            (n, n * SCRAPE_SECONDS + self.phase)
            for n in range(newest - int(lookback / SCRAPE_SECONDS), newest + 1)
        ]
        rising = _values([(at, n * 40) for n, at in stamps if at > now - lookback])
        still = _values([(at, 0) for n, at in stamps if at > now - lookback])
        start = _values([(at, 1000) for n, at in stamps if at > now - lookback])
        values = {True: rising, False: still, None: start}
        return b",".join([prefix + values[rises] for prefix, rises in chosen])


def _prefix(labels: dict[str, str]) -> bytes:
    metric = ",".join(f'"{name}":"{value}"' for name, value in sorted(labels.items()))
    return f'{{"metric":{{{metric}}},"values":['.encode()


def _rises(labels: dict[str, str]) -> bool | None:
    """Tells whether a counter rises; None for the start time."""
    name = labels["__name__"]
    return None if name.startswith("process") else _RISING.fullmatch(name) is not None


def _values(pairs: list[tuple[float, int]]) -> bytes:
    return ",".join(f'[{at:.3f},"{value}"]' for at, value in pairs).encode() + b"]}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers /api/v1/query and keeps connections open."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    targets: dict[tuple[str, str], Target]

    def do_GET(self) -> None:
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["content-length"])).decode())

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _answer(self, form: str) -> None:
        query = parse_qs(form)["query"][0]
        selector, _, lookback = query.rpartition("[")
        found = {name: (sign, text) for name, sign, text in _MATCHER.findall(selector)}
        spaces, pods = (set(found.pop(name)[1].split("|")) for name in ("namespace", "pod"))
        matchers = [
            (name, re.compile(text.replace("\\\\", "\\"))) for name, (_, text) in found.items()
        ]
        rest = repr(sorted(found.items()))
        seconds = float(lookback.rstrip("s]"))
        bodies = [
            target.answer(rest, matchers, seconds)
            for (space, name), target in self.targets.items()
            if name in pods and space in spaces
        ]
        body = b",".join(one for one in bodies if one)
        body = b'{"status":"success","data":{"resultType":"matrix","result":[' + body + b"]}}"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def main(routes: int) -> None:
    """Serves until its standard input ends."""
    Handler.targets = {
        (namespace(route), pod(route, number)): Target(route, number)
        for route in range(routes)
        for number in range(PODS)
    }
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
