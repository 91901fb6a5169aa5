"""What is around an operator in virtual time: an in-memory API server, relay pods and a Prometheus that stand in at the boundary."""

import itertools
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.network import Network
from tests.unit.relay_operator.relay_pods import RelayPods
from tests.unit.relay_operator.scraped_samples import Samples
from tests.unit.relay_operator.tool_listings import ToolListings
from tests.unit.relay_operator.virtual_time import running_clock

from relay_operator.api.tiers import Tiers
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.cluster.webhook.sender import Webhook
from relay_operator.manifests.environment import Platform
from relay_operator.reconcile.workers import SPARE

Manifest = dict[str, Any]

SYSTEM = "relay-system"
SIGNING_KEY = Ed25519PrivateKey.generate()
PLATFORM = Platform(
    operator_namespace=SYSTEM,
    service_account="relay-operator",
    tenant_cluster_role="relay-operator-tenant",
    relay_image="relay:test",
    relay_image_pull_policy="Never",
    public_keys="key",
    prometheus_namespace="monitoring",
    dns_namespace="kube-system",
)


class Surroundings:
    """A cluster without an operator, and the settings of those that will live in it."""

    def __init__(self) -> None:
        self.canaries_at_once = 0
        self.calls_per_second = 500.0
        self.spare_workers = SPARE
        self.tiers = Tiers()
        self.platform = PLATFORM
        self.clock = running_clock()
        self.server = InMemoryApiServer(self.clock)
        self.relays = RelayPods(self.server, SIGNING_KEY.public_key())
        self.samples = Samples(self.clock, self.server, self.relays)
        self.network = Network(self.relays)
        self.isolation_is_required = True
        self.webhook: Webhook | None = None
        self.ledger_keys: KeyFile | None = None
        self.ledger: Any = None
        """Answers as a LedgerClient does."""
        self.budgets: Any = None
        """Answers as a BudgetClient does."""
        self.costs: Any = None
        """Answers as a RouteCostClient does."""
        self.tool_lists = ToolListings()
        self.numbers = itertools.count(1)
        self.server.put(_namespace(SYSTEM))


def _namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
