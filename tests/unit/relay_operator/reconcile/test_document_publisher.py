"""Publishing a tenant's document: pushed and stored, resumed after a restart, overtaking what a lost life pushed."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.relay_pods import Pushes, RelayPods
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract import document, endpoints, seal
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.relays import Pod
from relay_operator.errors import Unavailable
from relay_operator.manifests import composition
from relay_operator.manifests.environment import Upstream
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.watched_state import WatchedState

SPACE = "relay-finance"
KEY = Ed25519PrivateKey.generate()
TENANT = Tenant.parse({"metadata": {"name": "finance", "uid": "u-1"}, "spec": {}})
STABLE = document.Side(provider="p", fingerprint="aaaaaaaaaaaa")
CANARY = document.Side(provider="q", fingerprint="bbbbbbbbbbbb")
POD = Pod(
    namespace=SPACE,
    name="relay-1",
    uid="pod-1",
    ip="10.0.0.1",
    incarnation=0,
    ready=True,
    terminating=False,
)


class Cluster:
    """A tenant's namespace with one relay pod, two providers, and operators that come and go."""

    def __init__(self) -> None:
        self.server = InMemoryApiServer()
        self.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        self.server.put(_deployment())
        self.pods = RelayPods(self.server, KEY.public_key())
        self.watched_state = WatchedState()
        self.watched_state.pods.keep(POD)
        for name in ("p", "q"):
            self.provider(name)
            self.watched_state.upstreams[name] = Upstream(provider=name, port=443)

    def provider(self, name: str, **spec: Any) -> None:
        endpoint = {"url": f"https://{name}.example.com/v1"}
        body = {"metadata": {"name": name, "uid": name}, "spec": {"endpoint": endpoint, **spec}}
        self.watched_state.providers.store(body)

    def operator(self, tenant: Tenant = TENANT) -> "Operator":
        return Operator(self, tenant)

    @property
    def sealed(self) -> str:
        stored = self.server.get("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=SPACE)
        return str(stored["data"][endpoints.DOCUMENT_KEY]) if stored else ""

    @property
    def stored(self) -> document.Document:
        return seal.unseal(self.sealed, [KEY.public_key()])[0]


class Operator:
    """The publisher of one operator process."""

    def __init__(self, cluster: Cluster, tenant: Tenant) -> None:
        self.api = cluster.server.connect()
        relays: Any = Pushes(cluster.pods, self.api.failures)
        self.publisher = DocumentPublisher(
            relays=relays,
            children=OwnedObjects(self.api),
            watched_state=cluster.watched_state,
            signing_key=KEY,
        )
        base = composition.tenant_part(tenant, {}, replicas=1)
        self.publication: Publication = self.publisher.begin(tenant, base, cluster.sealed)

    async def publish(self, percent: int) -> None:
        """Publishes the route chat with this weight of its canary."""
        route = document.Route(name="chat", stable=STABLE, canary=CANARY, canary_percent=percent)
        self.publication.contents.put(route)
        self.publisher.refresh_providers(self.publication, ("p", "q"))
        await self.publisher.distribute(SPACE)


def _deployment() -> dict[str, Any]:
    container = {"name": "relay", "env": [{"name": endpoints.ENV_TENANT_UID, "value": "u-1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": names.RELAY, "namespace": SPACE},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def served(cluster: Cluster) -> int:
    """Returns the weight that the pod serves."""
    return cluster.pods.documents[POD.uid].tenant.routes[0].canary_percent


async def test_a_document_is_pushed_and_stored(cluster: Cluster) -> None:
    operator = cluster.operator()
    await operator.publish(25)
    assert operator.publisher.count_acknowledged(SPACE) == (1, 1)
    assert served(cluster) == cluster.stored.tenant.routes[0].canary_percent == 25
    assert [provider.name for provider in cluster.stored.catalogue.providers] == ["p", "q"]


async def test_an_unchanged_document_is_neither_pushed_nor_written_again(cluster: Cluster) -> None:
    operator = cluster.operator()
    await operator.publish(25)
    calls = operator.api.failures.writes
    await operator.publish(25)
    assert operator.api.failures.writes == calls


async def test_a_restarted_operator_goes_on_from_the_stored_document(cluster: Cluster) -> None:
    await cluster.operator().publish(25)
    before = cluster.sealed
    successor = cluster.operator()
    assert successor.publication.fragments["chat"].canary_percent == 25
    assert successor.publication.reachable == {"p", "q"}
    await successor.publisher.distribute(SPACE)
    assert cluster.sealed == before
    assert successor.publisher.count_acknowledged(SPACE) == (1, 1)


@pytest.mark.parametrize("reason", ["another incarnation", "another key", "damaged"])
async def test_a_stored_document_that_is_not_this_tenants_is_not_resumed(
    cluster: Cluster, reason: str
) -> None:
    await cluster.operator().publish(25)
    other, text = TENANT, cluster.sealed
    if reason == "another incarnation":
        other = Tenant.parse({"metadata": {"name": "finance", "uid": "u-2"}, "spec": {}})
    elif reason == "another key":
        text = seal.seal(cluster.stored, Ed25519PrivateKey.generate())
    else:
        text = text[:-20]
    operator = cluster.operator()
    base = composition.tenant_part(other, {}, replicas=1)
    begun = operator.publisher.begin(other, base, text)
    assert (begun.fragments, begun.generation) == ({}, 0)


async def test_a_weight_reaches_the_pods_while_the_api_server_is_away(cluster: Cluster) -> None:
    operator = cluster.operator()
    await operator.publish(25)
    operator.api.failures.statuses["ConfigMap"] = 503
    with pytest.raises(Unavailable):
        await operator.publish(0)
    assert served(cluster) == 0
    assert cluster.stored.tenant.routes[0].canary_percent == 25
    operator.api.failures.statuses.clear()
    await operator.publisher.distribute(SPACE)
    assert cluster.stored.tenant.routes[0].canary_percent == 0


async def test_an_operator_overtakes_the_generations_that_a_lost_life_pushed(
    cluster: Cluster,
) -> None:
    lost = cluster.operator()
    await lost.publish(10)
    lost.api.failures.statuses["ConfigMap"] = 503
    for percent in (20, 30):
        with pytest.raises(Unavailable):
            await lost.publish(percent)
    successor = cluster.operator()
    assert successor.publication.generation < cluster.pods.documents[POD.uid].generation
    await successor.publish(0)
    assert served(cluster) == 0
    assert successor.publisher.count_acknowledged(SPACE) == (1, 1)
    assert cluster.stored.generation == cluster.pods.documents[POD.uid].generation
    assert cluster.stored.generation > lost.publication.generation


@in_virtual_time
async def test_a_silent_pod_is_counted_out_until_it_answers() -> None:
    cluster = Cluster()
    operator = cluster.operator()
    cluster.pods.silent.add(POD.name)
    await operator.publish(25)
    assert await operator.publisher.acknowledged(SPACE) == (0, 1)
    assert cluster.stored.tenant.routes[0].canary_percent == 25
    cluster.pods.silent.clear()
    await asyncio.sleep(1)
    assert await operator.publisher.acknowledged(SPACE) == (1, 1)


async def test_a_restarted_container_has_to_acknowledge_anew(cluster: Cluster) -> None:
    operator = cluster.operator()
    await operator.publish(25)
    cluster.watched_state.pods.keep(replace(POD, incarnation=1))
    assert operator.publisher.count_acknowledged(SPACE) == (0, 1)
    assert await operator.publisher.acknowledged(SPACE) == (1, 1)
    assert list(operator.publication.acknowledged) == [(POD.uid, 1)]


async def test_a_terminating_pod_gets_the_document_and_is_not_counted(cluster: Cluster) -> None:
    cluster.watched_state.pods.keep(replace(POD, terminating=True))
    operator = cluster.operator()
    await operator.publish(25)
    assert served(cluster) == 25
    assert operator.publisher.count_acknowledged(SPACE) == (0, 0)


async def test_a_missing_key_is_no_acknowledgement(cluster: Cluster) -> None:
    cluster.provider("q", auth={"secretName": "s"})
    operator = cluster.operator()
    await operator.publish(0)
    pods = cluster.watched_state.relay_pods(SPACE)
    assert operator.publisher.count_acknowledged(SPACE) == (0, 1)
    assert operator.publication.lacks_key("q", pods)
    assert not operator.publication.lacks_key("p", pods)
    assert operator.publication.lacks_key("unknown", pods)
    metadata = {"name": names.UPSTREAM_SECRET, "namespace": SPACE}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"q": "aw=="}}
    cluster.server.put(secret)
    assert await operator.publisher.acknowledged(SPACE) == (1, 1)
    assert not operator.publication.lacks_key("q", pods)


async def test_provider_parts_carry_the_tenants_share_and_outlive_their_provider(
    cluster: Cluster,
) -> None:
    cluster.provider("p", limits={"requestsPerMinute": 100})
    for name in ("finance", "legal"):
        metadata = {"name": name, "uid": name}
        cluster.watched_state.tenants.store({"metadata": metadata, "spec": {}})
        route = {"name": "chat", "namespace": f"relay-{name}", "uid": name}
        spec = {"stable": {"provider": "p"}}
        cluster.watched_state.routes.store({"metadata": route, "spec": spec})
        cluster.watched_state.note_owned(f"relay-{name}", True)
        cluster.watched_state.claims.put(f"relay-{name}", "chat", {"p"})
    operator = cluster.operator()
    await operator.publish(0)
    assert operator.publication.providers["p"].limits.requests_per_minute == 50
    del cluster.watched_state.upstreams["p"]
    await operator.publish(0)
    assert cluster.stored.catalogue.providers[0].limits.requests_per_minute == 50


async def test_a_weight_is_set_only_where_a_route_is_in_force(cluster: Cluster) -> None:
    operator = cluster.operator()
    await operator.publish(25)
    operator.publisher.set_weight(SPACE, "chat", 50)
    operator.publisher.set_weight(SPACE, "unknown", 50)
    operator.publisher.set_weight("relay-legal", "chat", 50)
    await operator.publisher.distribute(SPACE)
    assert served(cluster) == 50


async def test_an_unknown_or_forgotten_tenant_has_nothing_to_distribute(cluster: Cluster) -> None:
    operator = cluster.operator()
    await operator.publisher.distribute("relay-legal")
    assert operator.publisher.count_acknowledged("relay-legal") == (0, 0)
    operator.publisher.forget(SPACE)
    await operator.publisher.distribute(SPACE)
    assert operator.api.writes == []
    assert operator.publisher.publication(SPACE) is None


@pytest.mark.parametrize(
    "kept", ["nothing", "another signer", "another tenant", "older", "damaged"]
)
async def test_a_pod_is_believed_no_generation_that_it_cannot_show(
    cluster: Cluster, kept: str
) -> None:
    operator = cluster.operator()
    await operator.publish(25)
    newer = cluster.stored.model_copy(update={"generation": 2**40})
    other = newer.tenant.model_copy(update={"uid": "u-2"})
    cluster.pods.claimed = {
        "nothing": "",
        "another signer": seal.seal(newer, Ed25519PrivateKey.generate()),
        "another tenant": seal.seal(newer.model_copy(update={"tenant": other}), KEY),
        "older": cluster.sealed,
        "damaged": seal.seal(newer, KEY)[:-20],
    }[kept]
    await operator.publish(50)
    assert operator.publisher.count_acknowledged(SPACE) == (0, 1)
    assert operator.publication.generation == cluster.stored.generation == 2


@in_virtual_time
async def test_a_slow_pod_is_pushed_to_once_at_a_time_and_holds_nobody_up() -> None:
    cluster, loop = Cluster(), asyncio.get_running_loop()
    operator = cluster.operator()
    cluster.pods.seconds[POD.name] = 2.0
    started = loop.time()
    await operator.publish(0)
    await asyncio.gather(*(operator.publish(percent) for percent in range(1, 9)))
    assert loop.time() - started < 0.5
    assert cluster.pods.pushes == 1
    await asyncio.sleep(10)
    # after the first push the newest document followed at once, and nothing in between
    assert (cluster.pods.pushes, served(cluster)) == (2, 8)


@in_virtual_time
async def test_a_pod_that_fails_is_left_alone_for_longer_each_time_up_to_some_seconds() -> None:
    cluster = Cluster()
    operator = cluster.operator()
    cluster.pods.silent.add(POD.name)
    for percent in range(60):
        await operator.publish(percent)
        await asyncio.sleep(1)
    # one in three seconds, and a few more at first
    assert 10 <= cluster.pods.pushes <= 25
    cluster.watched_state.pods.keep(replace(POD, incarnation=1))
    cluster.pods.silent.clear()
    assert await operator.publisher.acknowledged(SPACE) == (1, 1)


@in_virtual_time
async def test_a_tenants_many_silent_pods_are_pushed_to_a_few_at_a_time() -> None:
    cluster = Cluster()
    for number in range(200):
        pod = replace(POD, uid=f"pod-{number}", name=f"relay-{number}")
        cluster.watched_state.pods.keep(pod)
        cluster.pods.seconds[pod.name] = 2.0
    operator = cluster.operator()
    await operator.publish(25)
    assert cluster.pods.most_at_once == 32
