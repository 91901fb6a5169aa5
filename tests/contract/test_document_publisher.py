"""Document pushes to real relay processes: acknowledgement, recovery, and no return to an older document."""

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.blackbox.relays import Relay
from tests.blackbox.tenant import TENANT_UID, Signer
from tests.blackbox.waiting import eventually
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer

from relay_contract import document, endpoints, seal
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.relays import Pod, Relays
from relay_operator.errors import Unavailable
from relay_operator.manifests import composition
from relay_operator.manifests.environment import Upstream
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.watched_state import WatchedState

NAMESPACE = "relay-finance"
TENANT = Tenant.parse({"metadata": {"name": "finance", "uid": TENANT_UID}, "spec": {}})
STABLE = document.Side(provider="p", fingerprint="aaaaaaaaaaaa")
CANARY = document.Side(provider="q", fingerprint="bbbbbbbbbbbb")


class Operator:
    """The document publisher of one operator process."""

    def __init__(
        self, watched_state: WatchedState, server: InMemoryApiServer, key: Ed25519PrivateKey
    ) -> None:
        self.api = server.connect()
        self.relays = Relays(timeout_seconds=2)
        self.publisher = DocumentPublisher(
            relays=self.relays,
            children=OwnedObjects(self.api),
            watched_state=watched_state,
            signing_key=key,
        )
        base = composition.tenant_part(TENANT, {}, replicas=1)
        self.publication: Publication = self.publisher.begin(TENANT, base, stored_document(server))

    async def weigh(self, percent: int) -> None:
        """Publishes the route chat with this weight."""
        route = document.Route(name="chat", stable=STABLE, canary=CANARY, canary_percent=percent)
        self.publication.contents.put(route)
        self.publisher.refresh_providers(self.publication)
        await self.publisher.distribute(NAMESPACE)


def stored_document(server: InMemoryApiServer) -> str:
    """Returns the document that relays would mount."""
    stored = server.get("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=NAMESPACE)
    return str(stored["data"][endpoints.DOCUMENT_KEY]) if stored else ""


Begin = Callable[[], Operator]


@pytest.fixture(scope="module")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def relay(tmp_path: Path, key: Ed25519PrivateKey) -> Iterator[Relay]:
    signer = Signer()
    raw = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    started = Relay(tmp_path, signer, document_public_keys=raw)
    for provider in ("p", "q"):
        started.give_key(provider, "k")
    yield started
    started.process.kill()


@pytest.fixture
def watched_state(relay: Relay) -> WatchedState:
    pod = Pod(
        namespace=NAMESPACE,
        name="relay-1",
        uid="pod-1",
        ip="127.0.0.1",
        incarnation=0,
        ready=True,
        terminating=False,
        admin_port=relay.admin_port,
    )
    watched_state = WatchedState()
    watched_state.pods.keep(pod)
    for side in (STABLE, CANARY):
        spec = {"endpoint": {"url": "http://127.0.0.1:9/v1"}, "auth": {"secretName": "s"}}
        watched_state.providers.store(
            {"metadata": {"name": side.provider, "uid": "u"}, "spec": spec}
        )
        watched_state.upstreams[side.provider] = Upstream(provider=side.provider, port=9)
    return watched_state


@pytest.fixture
def server() -> InMemoryApiServer:
    server = InMemoryApiServer()
    server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    return server


@pytest.fixture
async def new_operator(
    watched_state: WatchedState, server: InMemoryApiServer, key: Ed25519PrivateKey
) -> AsyncIterator[Begin]:
    """Starts operators; all end with the test."""
    lives: list[Operator] = []

    def begin() -> Operator:
        lives.append(Operator(watched_state, server, key))
        return lives[-1]

    yield begin
    for life in lives:
        await life.relays.close()


def wait_listening(relay: Relay) -> None:
    """Waits until the admin port answers; without a document the relay is not ready yet."""

    def answers() -> bool:
        try:
            return relay.ready().status == 503
        except OSError:
            return False

    eventually(answers, what="the admin port")


async def test_a_document_is_acknowledged_and_stored(
    relay: Relay, server: InMemoryApiServer, key: Ed25519PrivateKey, new_operator: Begin
) -> None:
    wait_listening(relay)
    operator = new_operator()
    await operator.weigh(25)
    assert await operator.publisher.acknowledged(NAMESPACE) == (1, 1)
    assert relay.acknowledged().digest == operator.publication.digest
    stored, _ = seal.unseal(stored_document(server), [key.public_key()])
    assert stored.tenant.routes[0].canary_percent == 25


async def test_a_restarted_operator_continues_from_the_stored_document(
    relay: Relay, new_operator: Begin
) -> None:
    wait_listening(relay)
    await new_operator().weigh(25)
    before = relay.acknowledged()
    successor = new_operator()
    assert successor.publication.fragments["chat"].canary_percent == 25
    await successor.publisher.distribute(NAMESPACE)
    assert relay.acknowledged() == before


async def test_a_weight_reaches_the_relay_while_the_api_server_is_unreachable(
    relay: Relay, server: InMemoryApiServer, key: Ed25519PrivateKey, new_operator: Begin
) -> None:
    wait_listening(relay)
    operator = new_operator()
    await operator.weigh(25)
    operator.api.failures.unreachable = True
    with pytest.raises(Unavailable):
        await operator.weigh(0)
    assert relay.acknowledged().digest == operator.publication.digest
    operator.api.failures.unreachable = False
    await operator.publisher.distribute(NAMESPACE)
    stored, _ = seal.unseal(stored_document(server), [key.public_key()])
    assert stored.tenant.routes[0].canary_percent == 0


async def test_an_operator_that_lost_its_memory_numbers_its_document_above_the_pods(
    relay: Relay, new_operator: Begin
) -> None:
    wait_listening(relay)
    forgetful = new_operator()
    await forgetful.weigh(10)
    forgetful.api.failures.unreachable = True
    for percent in (20, 30):
        with pytest.raises(Unavailable):
            await forgetful.weigh(percent)
    successor = new_operator()
    assert successor.publication.generation < relay.acknowledged().generation
    await successor.weigh(0)
    assert relay.acknowledged().digest == successor.publication.digest
    assert relay.acknowledged().generation > forgetful.publication.generation


async def test_a_pod_without_the_providers_key_has_not_acknowledged(
    relay: Relay, watched_state: WatchedState, new_operator: Begin
) -> None:
    wait_listening(relay)
    (relay.keys_directory / "q").unlink()
    operator = new_operator()
    await operator.weigh(0)
    pods = watched_state.relay_pods(NAMESPACE)
    assert await operator.publisher.acknowledged(NAMESPACE) == (0, 1)
    assert operator.publication.lacks_key("q", pods)
    assert not operator.publication.lacks_key("p", pods)
    relay.give_key("q", "k")
    assert await operator.publisher.acknowledged(NAMESPACE) == (1, 1)
    assert not operator.publication.lacks_key("q", pods)


async def test_a_pod_that_was_unreachable_gets_the_newest_document_when_it_is_back(
    relay: Relay, new_operator: Begin
) -> None:
    wait_listening(relay)
    operator = new_operator()
    relay.process.kill()
    await operator.weigh(25)
    assert operator.publication.acknowledged == {}
    relay.restart()
    wait_listening(relay)
    assert await operator.publisher.acknowledged(NAMESPACE) == (1, 1)
