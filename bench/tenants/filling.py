"""Fills a fleet up to a size: copies of a settled Tenant, with all that belongs to it, are written to where the API server stores its objects.

While no operator and no controller of Kubernetes runs, each copy is written at once: Tenant, route, namespace, and all that the operator, the
API server and Kubernetes' controllers have made for the model, byte for byte but for names, UIDs, API keys, addresses, nodes and signatures. It costs the API server what its
watches show it, and no admission; controllers that start then find everything as they would have left it.
"""

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from dataclasses import astuple, dataclass
from typing import Final

from bench.tenants import costs, etcd, objects
from bench.tenants.api_client import TENANTS, ApiClient
from bench.tenants.copies import Model, api_keys_in, document, key_in
from bench.tenants.etcd import OBJECTS, Etcd
from bench.tenants.fleet import Fleet, until
from bench.tenants.place import CONTROLLERS, STORING, Place
from bench.tenants.templates import Template, uid_of
from tests.cluster import addresses
from tests.demo import stage

from relay_operator import names
from relay_operator.cluster.api_server import PATHS

MODEL: Final = 0
"""The Tenant that is copied, which never has a canary: one that has failed is not tried again."""
_AT_ONCE: Final = 4
_SEEN_SECONDS: Final = 600.0
_CALM_SECONDS: Final = 5.0
_CALM_CORE: Final = 0.2
_CALM_LOOKS: Final = 2
_EVENTS: Final = b"events"
_PODS_FROM: Final = 2**15
"""Of the fake pods' addresses: KWOK gives them from the first one on."""
_SERVICES_FROM: Final = 2**10
"""Of the Services' addresses: the API server keeps the first ones for who asks for one."""


@dataclass(frozen=True, slots=True)
class Individual:
    """What each tenant has of its own beside name, UIDs and signatures."""

    pod_address: str
    service_address: str
    node: str
    pod: str
    template_hash: str

    def instead_of(self, model: "Individual") -> dict[str, str]:
        """Returns what this one has by what the model has."""
        return dict(zip(astuple(model), astuple(self), strict=True))


@dataclass(frozen=True, slots=True)
class _Stored:
    """The model, a template of each key and value that it has in etcd, and of its document."""

    model: Model
    individual: Individual
    entries: list[tuple[Template, Template]]
    document: Template


class Filling:
    """Adds copies of the fleet's first Tenant."""

    def __init__(
        self, place: Place, api: ApiClient, fleet: Fleet, say: Callable[[str], None]
    ) -> None:
        self._place, self._api, self._fleet, self._say = place, api, fleet, say

    async def fill(self, numbers: range) -> None:
        """Stops the operators, adds Tenants of these numbers, and returns when Kubernetes' controllers have looked at them."""
        began = time.monotonic()
        await self._without_operators()
        self._say(f"  no operator runs after {time.monotonic() - began:.0f} s")
        before = costs.writes(await self._metrics(), of_controllers=True)
        async with self._without_controllers():
            await self._fill(numbers)
        began = time.monotonic()
        await self._calm()
        made = costs.more(before, costs.writes(await self._metrics(), of_controllers=True))
        self._say(
            f"  controllers at rest after {time.monotonic() - began:.0f} s and {self._controllers().cpu_seconds:.0f} s of CPU, "
            f"writes {made}"
        )

    async def _fill(self, numbers: range) -> None:
        began, before = time.monotonic(), self._place.programs(STORING)
        await self._write(numbers)
        written = time.monotonic() - began
        await until(
            lambda: self._fleet.unready(numbers.stop),
            "objects not seen to be ready",
            seconds=_SEEN_SECONDS,
            say=self._say,
        )
        taken = {
            name: f"{one.cpu_seconds - before[name].cpu_seconds:.0f} s"
            for name, one in self._place.programs(STORING).items()
        }
        self._say(
            f"  {len(numbers)} copies written in {written:.0f} s, seen after {time.monotonic() - began:.0f} s, CPU {taken}"
        )

    async def _without_operators(self) -> None:
        self._place.scale_operators(0)
        await until(
            lambda: len(self._place.operator_pods()),
            "operators left",
            seconds=_SEEN_SECONDS,
            say=self._say,
        )

    @contextlib.asynccontextmanager
    async def _without_controllers(self) -> AsyncIterator[None]:
        """Stops Kubernetes' controllers, which would make or remove what is not there yet."""
        self._place.component("stop", CONTROLLERS)
        try:
            await until(
                lambda: int(self._place.runs(CONTROLLERS)),
                "programs still to end",
                seconds=_SEEN_SECONDS,
                say=self._say,
            )
            yield
        finally:
            self._place.component("start", CONTROLLERS)

    async def _calm(self) -> None:
        """Waits until Kubernetes' controllers take little of the processor."""
        calm, deadline = 0, time.monotonic() + _SEEN_SECONDS
        while calm < _CALM_LOOKS:
            if time.monotonic() > deadline:
                raise TimeoutError("Kubernetes' controllers do not come to rest")
            before = self._controllers()
            await asyncio.sleep(_CALM_SECONDS)
            after = self._controllers()
            taken = (after.cpu_seconds - before.cpu_seconds) / _CALM_SECONDS
            is_calm = before.pid == after.pid and taken < _CALM_CORE
            calm = calm + 1 if is_calm else 0

    def _controllers(self) -> costs.Process:
        return self._place.programs((CONTROLLERS,))[CONTROLLERS]

    async def _metrics(self) -> str:
        return (await self._api.read("/metrics")).decode()

    async def _write(self, numbers: range) -> None:
        with self._place.etcd_reached() as url:
            async with etcd.connected(url) as store:
                stored = await self._stored(store)
                waiting = zip(numbers, await self._individuals(stored, numbers), strict=True)
                await asyncio.gather(
                    *(self._add_each(store, stored, waiting) for _ in range(_AT_ONCE))
                )

    async def _add_each(
        self, store: Etcd, stored: _Stored, waiting: Iterator[tuple[int, Individual]]
    ) -> None:
        for number, own in waiting:
            texts = stored.model.texts(number, own.instead_of(stored.individual))
            entries = [
                (key.rendered(texts), value.rendered(texts)) for key, value in stored.entries
            ]
            if not await store.put_new(entries):
                raise RuntimeError(f"there is something of {objects.tenant_name(number)} already")
            # as a relay that starts, which finds its document mounted
            envelope = stored.document.rendered(texts).decode()
            read = {"address": own.pod_address, "document": envelope}
            await asyncio.to_thread(self._place.tell, "/document", read)

    async def _stored(self, store: Etcd) -> _Stored:
        space = objects.namespace(MODEL)
        tenant = await self._api.get(f"{TENANTS}/{objects.tenant_name(MODEL)}")
        individual = await self._individual(space)
        keys = keys_of(await store.keys(), MODEL, individual)
        values = [await store.value(key) for key in keys]
        signed = [await self._api.get(_path("Namespace", space))]
        for kind in {kind for kind, _ in names.watched_children()}:
            signed += (await self._api.items(_path(kind, namespace=space)))[0]
        secret = _path("Secret", names.SIGNING_KEY_SECRET, namespace=stage.OPERATOR_NAMESPACE)
        api_keys = _path("Secret", names.API_KEYS_SECRET, namespace=space)
        model = Model(
            MODEL,
            tenant_uid=tenant["metadata"]["uid"],
            uids=map(uid_of, values),
            api_keys=api_keys_in(await self._api.get(api_keys)),
            others=astuple(individual),
            signed=signed,
            signing_key=key_in(await self._api.get(secret)),
        )
        configmap = _path("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=space)
        envelope = document(await self._api.get(configmap)).encode()
        entries = [
            (model.template(key), model.template(value))
            for key, value in zip(keys, values, strict=True)
        ]
        kibibytes = sum(map(len, values)) / 1024
        self._say(f"  the model has {len(keys)} objects of {kibibytes:.0f} KiB in all")
        return _Stored(model, individual, entries, model.template(envelope))

    async def _individual(self, space: str) -> Individual:
        [pod] = (await self._api.items(_path("Pod", namespace=space)))[0]
        service = await self._api.get(_path("Service", names.RELAY, namespace=space))
        metadata = pod["metadata"]
        return Individual(
            pod_address=pod["status"]["podIP"],
            service_address=service["spec"]["clusterIP"],
            node=pod["spec"]["nodeName"],
            pod=metadata["name"],
            template_hash=metadata["labels"]["pod-template-hash"],
        )

    async def _individuals(self, stored: _Stored, numbers: range) -> list[Individual]:
        found, _ = await self._api.items("/apis/networking.k8s.io/v1/ipaddresses")
        taken = frozenset(one["metadata"]["name"] for one in found)
        length = len(stored.individual.template_hash)
        return individuals(numbers, taken=taken, nodes=self._place.nodes, hash_length=length)


def individuals(
    numbers: range, *, taken: Collection[str], nodes: int, hash_length: int
) -> list[Individual]:
    """Returns what each copy has of its own. taken are addresses of Services; nodes get the same number of pods."""
    pods = ipaddress.ip_network(addresses.FAKE_POD_CIDR)
    services = ipaddress.ip_network(addresses.SERVICE_CIDR)
    places = range(_SERVICES_FROM, services.num_addresses - 1)
    free = (address for place in places if (address := str(services[place])) not in taken)
    found = []
    for number in numbers:
        made = f"{number:0{hash_length}x}"
        found.append(
            Individual(
                pod_address=str(pods[_PODS_FROM + number]),
                service_address=next(free),
                node=objects.node_name(number % nodes),
                pod=f"{names.RELAY}-{made}-{number:05x}",
                template_hash=made,
            )
        )
    return found


def keys_of(keys: Iterable[bytes], number: int, individual: Individual) -> list[bytes]:
    """Returns the keys of a Tenant, its namespace and all in it but Events, and of its Service's address."""
    own = (objects.tenant_name(number), objects.namespace(number), individual.service_address)
    parts = {one.encode() for one in own}
    found = []
    for key in keys:
        kind, *rest = key.removeprefix(OBJECTS).split(b"/")
        if kind != _EVENTS and parts.intersection(rest):
            found.append(key)
    return found


def _path(kind: str, name: str = "", *, namespace: str = "") -> str:
    prefix, plural, _ = PATHS[kind]
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{prefix}{inside}/{plural}" + (f"/{name}" if name else "")
