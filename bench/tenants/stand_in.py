"""`python -m bench.tenants.stand_in`: is every relay pod of a cluster's fake nodes, and Prometheus to the operator, in one process.

It runs in the network namespace of the node, which takes whatever is sent to the pods' addresses for its own; the address that
a connection was made to tells which pod it is. The admin port answers as a relay's does, without checking signatures; port 9090
answers queries about the pods with canaries; the control port takes what to do: PUT /setup, PUT /begin, PUT /document, GET /seen.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web
from bench.rollback.responder import Responder, Story, Target, clock
from bench.tenants.objects import CANARY, STABLE

from relay_contract import endpoints
from relay_contract.isolation_probe import Outcome

QUERY_PORT, CONTROL_PORT = 9090, 9001
_CHALLENGE: Final = "0" * 32
_MOST_BYTES: Final = 16 * 1024 * 1024
_EMPTY: Final = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'

RouteKey = tuple[str, str]


@dataclass(slots=True)
class RelayPod:
    """Holds what one pod has in force. changed is set, and replaced, when that changes."""

    envelope: bytes = b""
    digest: str = ""
    version: tuple[int, int] = (0, 0)
    leader: tuple[int, str] = (0, "")
    tokens: Mapping[str, str] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def acknowledgement(self) -> dict[str, Any]:
        """Returns what a relay says of the document in force."""
        generation = self.version[1]
        return {"digest": self.digest, "generation": generation, "workers": 1, "missingKeys": []}


class StandIn:
    """All relay pods, by their address, and when each canary's weight was taken away."""

    def __init__(self) -> None:
        self._pods: dict[str, RelayPod] = {}
        self._weights: dict[RouteKey, int] = {}
        self._responder: Responder | None = None
        self._visible: dict[RouteKey, float] = {}
        self._arrived: dict[RouteKey, float] = {}
        self._pushes = 0
        self._queries = 0

    def take(self, address: str, envelope: bytes, shown: str) -> tuple[int, dict[str, Any]]:
        """Takes a pushed document, unless it is older than the one in force, or its leader than one that was here."""
        at, pod = clock(), self._pods.setdefault(address, RelayPod())
        self._pushes += 1
        payload = orjson.loads(envelope)["payload"]
        digest = hashlib.sha256(payload.encode()).hexdigest()
        leader = (int(shown.partition(" ")[0] or 0), shown)
        if leader[0] >= pod.leader[0]:
            pod.leader = leader
            if digest == pod.digest:
                return 200, pod.acknowledgement()
            document = orjson.loads(payload)
            version = (document.get("epoch", 0), document["generation"])
            if version[1] > pod.version[1]:
                pod.envelope, pod.digest, pod.version = envelope, digest, version
                self._note_routes(pod, document["tenant"], at)
                return 200, pod.acknowledgement()
        kept = {"inForce": orjson.loads(pod.envelope), "leader": pod.leader[1]}
        return 409, pod.acknowledgement() | kept

    def _note_routes(self, pod: RelayPod, tenant: Mapping[str, Any], at: float) -> None:
        space = f"relay-{tenant['name']}"
        for route in tenant["routes"]:
            key, weight = (space, route["name"]), route.get("canaryPercent", 0)
            if key in self._visible and not weight and self._weights.get(key):
                self._arrived.setdefault(key, at)
            if weight or key in self._weights:
                self._weights[key] = weight
        pod.tokens = {
            one["name"]: one["preflight"] for one in tenant["routes"] if one.get("preflight")
        }
        pod.changed.set()
        pod.changed = asyncio.Event()

    def pod(self, address: str) -> RelayPod:
        """Returns the pod at this address."""
        return self._pods.setdefault(address, RelayPod())

    def set_up(self, setup: Mapping[str, Any]) -> None:
        """Begins to answer queries about these pods."""
        targets = [
            Target(
                namespace=one["namespace"],
                pod=one["pod"],
                phase=one["phase"],
                tells=True,
                routes={name: (stable, canary) for name, stable, canary in one["routes"]},
            )
            for one in setup["targets"]
        ]
        self._responder = Responder(
            targets=targets,
            templates=setup["templates"],
            story=Story([(calls, failed, stable) for calls, failed, stable in setup["story"]]),
            period=setup["period"],
        )
        self._visible, self._arrived = {}, {}

    def begin(self, routes: list[RouteKey], *, scrapes_ahead: int, proof: int | None) -> None:
        """Begins the story of these routes; proof is the scrape that proves their breach, None without one."""
        assert self._responder is not None
        for namespace, name in routes:
            key = (namespace, name)
            first = self._responder.begin(key, scrapes_ahead=scrapes_ahead)
            if proof is not None:
                self._visible[key] = self._responder.visible_at(namespace, first + proof)

    def seen(self) -> dict[str, Any]:
        """Returns what has come about so far: seconds from a breach's being visible to weight 0, by route."""
        return {
            "pods": sum(1 for pod in self._pods.values() if pod.digest),
            "pushes": self._pushes,
            "queries": self._queries,
            "weighted": sum(1 for weight in self._weights.values() if weight),
            "open": len(self._visible) - len(self._arrived),
            "seconds": [at - self._visible[key] for key, at in self._arrived.items()],
        }

    async def query(self, form: str) -> bytes:
        """Answers as Prometheus does, beside the loop, so that no push waits for it."""
        self._queries += 1
        responder = self._responder
        return await asyncio.to_thread(responder.answer, form) if responder else _EMPTY


class AdminPort:
    """Answers at the admin ports of all pods."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    def app(self) -> web.Application:
        """Returns the paths that the operator asks."""
        app = web.Application(client_max_size=_MOST_BYTES)
        app.add_routes(
            [
                web.put(endpoints.CONFIG_PATH, self._take),
                web.get(endpoints.CONFIG_PATH, self._tell),
                web.get(endpoints.BREAKERS_PATH, self._breakers),
                web.get(endpoints.PREFLIGHTS_PATH, self._preflights),
                web.get(endpoints.QUOTA_USE_PATH, self._quota_use),
                web.get(endpoints.ISOLATION_PATH, self._challenge),
                web.post(endpoints.ISOLATION_PATH, self._isolation),
                web.get(endpoints.PROVIDER_PROBE_PATH, self._provider),
            ]
        )
        return app

    async def _take(self, request: web.Request) -> web.Response:
        shown = request.headers.get(endpoints.LEADER_HEADER, "")
        status, answer = self._stand_in.take(_address(request), await request.read(), shown)
        return _json(answer, status=status)

    async def _tell(self, request: web.Request) -> web.Response:
        return _json(self._stand_in.pod(_address(request)).acknowledgement())

    async def _breakers(self, request: web.Request) -> web.Response:
        return await _never_news(request, {"open": []})

    async def _quota_use(self, request: web.Request) -> web.Response:
        uses = [{"provider": name, "level": "Usual"} for name in (STABLE, CANARY)]
        return await _never_news(request, {"uses": uses})

    async def _preflights(self, request: web.Request) -> web.Response:
        pod = self._stand_in.pod(_address(request))
        if request.query.get("seen") == _tag(pod):
            await _changed(pod, float(request.query["wait"]))
        told = [{"route": n, "token": t, "state": "Passed"} for n, t in pod.tokens.items()]
        return _json({"tag": _tag(pod), "preflights": told})

    async def _challenge(self, _: web.Request) -> web.Response:
        return _json({"challenge": _CHALLENGE})

    async def _isolation(self, request: web.Request) -> web.Response:
        asked = json.loads((await request.json())["payload"])
        outcomes = [Outcome.NO_ANSWER] * len(asked["targets"])
        return _json({"outcomes": outcomes, "serving": True})

    async def _provider(self, request: web.Request) -> web.Response:
        return _json({"provider": request.query["provider"], "outcome": "Answered"})


def prometheus(stand_in: StandIn) -> web.Application:
    """Returns the path by which Prometheus is asked."""

    async def query(request: web.Request) -> web.Response:
        form = request.query_string if request.method == "GET" else await request.text()
        return web.Response(body=await stand_in.query(form), content_type="application/json")

    app = web.Application(client_max_size=_MOST_BYTES)
    app.add_routes([web.route("*", "/api/v1/query", query)])
    return app


def _control(stand_in: StandIn) -> web.Application:
    async def set_up(request: web.Request) -> web.Response:
        stand_in.set_up(await request.json())
        return _json({})

    async def begin(request: web.Request) -> web.Response:
        asked = await request.json()
        routes = [(space, name) for space, name in asked["routes"]]
        stand_in.begin(routes, scrapes_ahead=asked["scrapesAhead"], proof=asked["proof"])
        return _json({})

    async def read_document(request: web.Request) -> web.Response:
        """Lets a pod have read the document that a relay finds mounted when it starts."""
        asked = await request.json()
        status, answer = stand_in.take(asked["address"], asked["document"].encode(), "")
        return _json(answer, status=status)

    async def seen(_: web.Request) -> web.Response:
        return _json(stand_in.seen())

    app = web.Application(client_max_size=_MOST_BYTES)
    app.add_routes(
        [
            web.put("/setup", set_up),
            web.put("/begin", begin),
            web.put("/document", read_document),
            web.get("/seen", seen),
        ]
    )
    return app


async def _never_news(request: web.Request, told: Mapping[str, Any]) -> web.Response:
    """Answers a question once, and holds back the answer to whoever has seen it."""
    tag = "00"
    if request.query.get("seen") == tag:
        await asyncio.sleep(float(request.query["wait"]))
    return _json({"tag": tag, **told})


async def _changed(pod: RelayPod, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await pod.changed.wait()
    except TimeoutError:
        return


def _tag(pod: RelayPod) -> str:
    return hashlib.sha256(repr(sorted(pod.tokens.items())).encode()).hexdigest()[:16]


def _address(request: web.Request) -> str:
    """Returns the address that the connection was made to."""
    assert request.transport is not None
    return str(request.transport.get_extra_info("sockname")[0])


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


async def main() -> None:
    """Serves until killed; prints a line when it does."""
    stand_in = StandIn()
    for port, app in (
        (endpoints.ADMIN_PORT, AdminPort(stand_in).app()),
        (QUERY_PORT, prometheus(stand_in)),
        (CONTROL_PORT, _control(stand_in)),
    ):
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=120)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", port, backlog=4096).start()
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    # a long answer to a query must not hold up a push
    sys.setswitchinterval(0.001)
    asyncio.run(main())
