"""`python -m bench.rollback.witness`: is Prometheus to the operator, and sees when the relay pods have taken a canary's calls away.

One process, so both moments are of one clock. Port 9090 answers queries; the control port takes what to do:
PUT /setup (targets and story), PUT /begin (routes that turn bad, and after how many scrapes), GET /runs.
"""

import http.client
import http.server
import json
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from bench.rollback.relay_pods import RelayPod
from bench.rollback.responder import Responder, Story, Target, clock

QUERY_PORT, CONTROL_PORT = 9090, 9001
EARLY_SECONDS: Final = 0.3
"""Pods are watched from so long before the breach is visible, so that an earlier move is not taken for a fast one."""
PAUSE_SECONDS: Final = 0.005
IDLE_SECONDS: Final = 0.02
GIVEN_UP_SECONDS: Final = 20.0


@dataclass(slots=True)
class Watch:
    """A route whose breach is visible from a moment on; arrived is when each pod had it at 0 %. Seconds since the epoch."""

    namespace: str
    route: str
    scrape: int
    visible: float
    arrived: dict[str, float] = field(default_factory=dict)


class Witness:
    """The scene of one part of the bench: a responder, the relay pods, and the routes that are watched."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self.responder = Responder(
            targets=[
                Target(
                    namespace=one["namespace"],
                    pod=one["pod"],
                    phase=one["phase"],
                    tells=one["tells"],
                    routes={name: (stable, canary) for name, stable, canary in one["routes"]},
                )
                for one in setup["targets"]
            ],
            templates=setup["templates"],
            story=Story([(calls, failed, stable) for calls, failed, stable in setup["story"]]),
            period=setup["period"],
        )
        self._proof: int = setup["proof"]
        self._pods: dict[str, list[RelayPod]] = {}
        for one in setup["targets"]:
            pod = RelayPod(one["pod"], one["address"], one["port"], one["envelope"])
            self._pods.setdefault(one["namespace"], []).append(pod)
        self._lock = threading.Lock()
        self._open: list[Watch] = []
        self._runs: list[dict[str, Any]] = []

    def begin(self, begun: list[tuple[str, str, int]]) -> None:
        """Begins the stories of these routes, each so many scrapes from now."""
        for namespace, route, scrapes_ahead in begun:
            first = self.responder.begin((namespace, route), scrapes_ahead=scrapes_ahead)
            scrape = first + self._proof
            visible = self.responder.visible_at(namespace, scrape)
            with self._lock:
                self._open.append(Watch(namespace, route, scrape, visible))

    def runs(self) -> dict[str, Any]:
        """Returns the runs that have ended, and how many have not."""
        with self._lock:
            return {"open": len(self._open), "runs": self._runs}

    def look(self) -> bool:
        """Looks once at every pod that is waited for; False if there is none at present."""
        now = clock()
        with self._lock:
            due = [one for one in self._open if one.visible - EARLY_SECONDS <= now]
        for namespace in {one.namespace for one in due}:
            watches = [one for one in due if one.namespace == namespace]
            for pod in self._pods[namespace]:
                _look_at(pod, [one for one in watches if pod.name not in one.arrived])
        for one in due:
            missing = len(self._pods[one.namespace]) - len(one.arrived)
            if not missing or now > one.visible + GIVEN_UP_SECONDS:
                self._end(one, missing)
        return bool(due)

    def _end(self, watch: Watch, missing: int) -> None:
        self.responder.end((watch.namespace, watch.route))
        shown = self.responder.shown_at(watch.namespace, watch.scrape)
        run = {
            "namespace": watch.namespace,
            "route": watch.route,
            "missing": missing,
            "asked": None if shown is None else shown - watch.visible,
            "arrived": {pod: at - watch.visible for pod, at in watch.arrived.items()},
        }
        with self._lock:
            self._open.remove(watch)
            self._runs.append(run)

    def close(self) -> None:
        """Closes the connections to the pods."""
        for pods in self._pods.values():
            for pod in pods:
                pod.close()


def _look_at(pod: RelayPod, watches: list[Watch]) -> None:
    if not watches:
        return
    try:
        found = pod.weights()
    except (OSError, http.client.HTTPException):
        traceback.print_exc()
        pod.close()
        return
    if found is None:
        return
    seen_at, weights = found
    for one in watches:
        # a route that left the document has no canary either
        if weights.get(one.route, 0) == 0:
            one.arrived[pod.name] = seen_at


class Scene:
    """Holds the present witness, and looks through its eyes."""

    def __init__(self) -> None:
        self.witness: Witness | None = None

    def query(self, form: str) -> bytes:
        """Answers as Prometheus does; before the first setup nothing was ever scraped."""
        if self.witness is None:
            return b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
        return self.witness.responder.answer(form)

    def control(self, path: str, body: str) -> bytes:
        """Does what the bench asks for."""
        if path == "/setup":
            # the former one's connections are closed when nobody looks through it any more
            self.witness = Witness(json.loads(body))
        assert self.witness is not None
        if path == "/begin":
            self.witness.begin(json.loads(body))
        return json.dumps(self.witness.runs()).encode()

    def look_forever(self) -> None:
        """Looks at the pods, every few milliseconds while a run is on."""
        before: Witness | None = None
        while True:
            witness = self.witness
            if before is not None and before is not witness:
                before.close()
            before = witness
            busy = witness is not None and witness.look()
            time.sleep(PAUSE_SECONDS if busy else IDLE_SECONDS)


def _server(port: int, respond: Callable[[str, str], bytes]) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            self._answer(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["content-length"])).decode())

        def do_PUT(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

        def _answer(self, text: str) -> None:
            body = respond(urlsplit(self.path).path, text)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    server = http.server.ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True
    return server


def main() -> None:
    """Serves and looks until killed."""
    # a long answer to the operator must not hold up the look at the pods
    sys.setswitchinterval(0.001)
    scene = Scene()
    queries = _server(QUERY_PORT, lambda _, form: scene.query(form))
    control = _server(CONTROL_PORT, scene.control)
    for server in (queries, control):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    scene.look_forever()


if __name__ == "__main__":
    main()
