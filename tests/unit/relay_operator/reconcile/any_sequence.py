"""Anything that people, clusters and failures do to an operator, step by step, in any order."""

import asyncio
import contextlib
import copy
from typing import Any

from hypothesis import strategies as st
from tests.unit.relay_operator.injected_failures import OperatorDied
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.scenes import ANALYSIS, CANARY, SPACE
from tests.unit.relay_operator.reconcile.test_repairs import CHILDREN, EDITS, SECRET_EDITS, SECRETS
from tests.unit.relay_operator.surroundings import SYSTEM

from relay_operator.errors import ApiServerRefused

Manifest = dict[str, Any]
Step = tuple[Any, ...]

PROVIDERS = ("legacy", "new")
ROUTES = ("chat", "batch")
PERCENTS = (0, 10, 40, 100)

TENANTS: dict[str, Manifest] = {
    "plain": {},
    "two keys": {"apiKeys": [{"name": "web"}, {"name": "batch", "priority": "low"}]},
    "two pods": {"relay": {"replicas": 2}, "network": {"allowFrom": [{"namespace": "web"}]}},
    "suspended": {"suspend": True},
    "invalid": {"relay": {"resources": {"limits": {"memory": "1Mi"}}}},
    "invalid and suspended": {"suspend": True, "queue": {"concurrency": "all"}},
}
PROVIDER_SPECS: dict[str, Manifest] = {
    "plain": {},
    "other": {"headers": {"x-team": "a"}, "limits": {"requestsPerMinute": 100}},
    "without auth": {"auth": None},
    "invalid": {"limits": {"requestsPerMinute": "many"}},
}
ROUTE_SPECS: dict[str, Manifest] = {
    "plain": {},
    "without analysis": {"analysis": None},
    "unknown canary": {"canary": {"provider": "nobody"}},
    "unknown stable": {"stable": {"provider": "nobody"}},
    "invalid": {"analysis": {"window": "soon"}},
    "swapped": {"stable": {"provider": "new"}, "canary": {"provider": "legacy"}},
    "fallback": {"fallback": [{"provider": "new"}]},
}
MATCHES: dict[str, Manifest] = {"all": {}, "a": {"models": ["a"]}, "b": {"models": ["b"]}}
FAILING_KINDS = ("ConfigMap", "Secret", "Deployment", "RelayRoute", "Tenant", "Namespace", "Event")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("tenant"), st.sampled_from(sorted(TENANTS))),
        st.tuples(st.just("provider"), st.sampled_from(PROVIDERS), st.sampled_from(sorted(PROVIDER_SPECS))),
        st.tuples(
            st.just("route"),
            st.sampled_from(ROUTES),
            st.sampled_from(sorted(ROUTE_SPECS)),
            st.sampled_from(PERCENTS),
            st.sampled_from(sorted(MATCHES)),
        ),
        st.tuples(st.just("remove"), st.sampled_from([
            ("Tenant", "finance"), ("Namespace", SPACE), *(("Provider", name) for name in PROVIDERS),
            *(("RelayRoute", name) for name in ROUTES), *CHILDREN, *SECRETS,
        ])),
        st.tuples(st.just("hold"), st.sampled_from([("Tenant", "finance"), ("RelayRoute", "chat")])),
        st.tuples(st.just("release")),
        st.tuples(st.just("edit"), st.sampled_from([*EDITS, *SECRET_EDITS])),
        st.tuples(st.sampled_from(["key", "no key"]), st.sampled_from(PROVIDERS)),
        st.tuples(st.just("calls"), st.sampled_from(ROUTES), st.sampled_from([0, 60])),
        st.tuples(st.just("status"), st.sampled_from(FAILING_KINDS), st.sampled_from([403, 409, 422, 503])),
        st.tuples(st.just("dies after"), st.integers(1, 12)),
        st.tuples(st.sampled_from(["outage", "healed", "restart", "silent pods", "pods answer", "garbage"])),
        st.tuples(st.just("wait"), st.sampled_from([0.05, 1, 15])),
    ),
    min_size=3,
    max_size=14,
)  # fmt: skip


class Play:
    """One operator after the other, over one cluster, with a kubelet and a garbage collector."""

    def __init__(self, stage: Stage, life: Life) -> None:
        self.stage, self.life = stage, life
        self.most: dict[str, int] = {}
        """The highest percent that any spec of a route has allowed so far."""
        self._pods = 0

    async def take(self, step: Step) -> None:
        """Takes a step, and lets the operator notice it."""
        what, *arguments = step
        # somebody whose namespace is not there is told so
        with contextlib.suppress(ApiServerRefused):
            await getattr(self, "_" + what.replace(" ", "_"))(*arguments)
        await self._go_on(1.0)

    async def come_to_rest(self) -> None:
        """Ends every failure, but not what people hold or broke, and waits for longer than any pause."""
        await self._healed()
        await self._pods_answer()
        for _ in range(14):
            await self._garbage()
            await self._go_on(50)

    async def restart(self) -> Life:
        await self.life.end()
        self.life = await self.stage.operator()
        return self.life

    def weights(self, route: str) -> list[int]:
        """Returns the canary's weight in every pod that knows the route."""
        found = (
            self.stage.relays.weight(pod["metadata"]["name"], route, namespace=SPACE)
            for pod in self.stage.server.list("Pod", namespace=SPACE)
        )
        return [weight for weight in found if weight is not None]

    async def _go_on(self, seconds: float) -> None:
        self._run_kubelet()
        await self.stage.settle(seconds)
        if self.life.api.failures.dead:
            await self.restart()
        for route in ROUTES:
            assert all(weight <= self.most.get(route, 0) for weight in self.weights(route))

    def _run_kubelet(self) -> None:
        """Brings the relay pods to the number that the Deployment asks for."""
        server = self.stage.server
        deployment = server.get("Deployment", "relay", namespace=SPACE) or {}
        home = server.get("Namespace", SPACE) or {"metadata": {"deletionTimestamp": ""}}
        wanted = int(deployment.get("spec", {}).get("replicas", 0))
        pods = [pod["metadata"]["name"] for pod in server.list("Pod", namespace=SPACE)]
        for surplus in pods[wanted:]:
            server.remove("Pod", surplus, namespace=SPACE)
        if "deletionTimestamp" in home["metadata"]:
            return
        for _ in range(min(wanted, 3) - len(pods)):
            self._pods += 1
            self.stage.pod(f"relay-{self._pods}")

    async def _tenant(self, spec: str) -> None:
        self.stage.tenant(**copy.deepcopy(TENANTS[spec]))

    async def _provider(self, name: str, spec: str) -> None:
        self.stage.provider(name, key=False, **copy.deepcopy(PROVIDER_SPECS[spec]))

    async def _route(self, name: str, spec: str, percent: int, match: str) -> None:
        chosen = ROUTE_SPECS[spec]
        canary = {**CANARY, "percent": percent, **chosen.get("canary", {})}
        body = {"analysis": ANALYSIS, "match": MATCHES[match], **chosen, "canary": canary}
        if self.stage.server.get("Namespace", SPACE) is not None:
            self.most[name] = max(percent, self.most.get(name, 0))
        self.stage.route(name, **copy.deepcopy(body))

    async def _remove(self, one: tuple[str, str]) -> None:
        kind, name = one
        self.stage.server.remove(kind, name, namespace=_home(kind))

    async def _hold(self, one: tuple[str, str]) -> None:
        kind, name = one
        body = self.stage.server.get(kind, name, namespace=_home(kind))
        if body is not None and "deletionTimestamp" not in body["metadata"]:
            body["metadata"]["finalizers"] = ["example.com/held"]
            self.stage.server.put(body)
            self.stage.server.remove(kind, name, namespace=_home(kind))

    async def _release(self) -> None:
        for kind in ("Tenant", "RelayRoute"):
            for one in self.stage.server.list(kind):
                if one["metadata"].get("finalizers"):
                    key = (kind, _home(kind), one["metadata"]["name"])
                    patch: Manifest = {"metadata": {"finalizers": None}}
                    self.stage.server.patch(key, patch, ("somebody", "Update"))

    async def _edit(self, one: tuple[str, str, Any]) -> None:
        kind, name, change = one
        body = self.stage.server.get(kind, name, namespace=_home(kind))
        if body is None:
            return
        try:
            change(body)
        except (KeyError, ValueError):
            return  # somebody else edited the same before
        self.stage.server.put(body, manager="kubectl-edit")

    async def _key(self, provider: str) -> None:
        self.stage.secret(f"{provider}-key")

    async def _no_key(self, provider: str) -> None:
        self.stage.server.remove("Secret", f"{provider}-key", namespace=SYSTEM)

    async def _calls(self, route: str, failed: int) -> None:
        stored = self.stage.server.get("RelayRoute", route, namespace=SPACE) or {}
        if stored.get("status", {}).get("canaryFingerprint"):
            self.stage.serve(stored, 100, failed=failed)
            await self.stage.settle(11)

    async def _status(self, kind: str, status: int) -> None:
        self.life.api.failures.statuses[kind] = status

    async def _dies_after(self, writes: int) -> None:
        failures = self.life.api.failures
        failures.dies_after = failures.writes + writes

    async def _outage(self) -> None:
        self.life.api.failures.unreachable = True

    async def _healed(self) -> None:
        failures = self.life.api.failures
        failures.unreachable, failures.dies_after = False, None
        failures.statuses.clear()

    async def _restart(self) -> None:
        await self.restart()

    async def _silent_pods(self) -> None:
        self.stage.relays.silent |= {
            pod["metadata"]["name"] for pod in self.stage.server.list("Pod", namespace=SPACE)
        }

    async def _pods_answer(self) -> None:
        self.stage.relays.silent.clear()

    async def _garbage(self) -> None:
        self.stage.server.collect_garbage()

    async def _wait(self, seconds: float) -> None:
        await self.stage.settle(seconds)


def _home(kind: str) -> str:
    return "" if kind in ("Tenant", "Provider", "Namespace") else SPACE


def report_all_but_death(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Is the loop's exception handler: a dead operator's tasks have nobody who would ask for their result."""
    if not isinstance(context.get("exception"), OperatorDied):
        loop.default_exception_handler(context)
