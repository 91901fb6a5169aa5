"""Tenant: one customer of the platform and the relay it gets."""

import re
from typing import Literal, Self

from pydantic import model_validator

from relay_operator import names
from relay_operator.api.custom_resource import Part, Resource
from relay_operator.api.quantities import Cidr, Duration, amount

Amounts = dict[str, str | int]

DEFAULT_REQUESTS: Amounts = {"cpu": "100m", "memory": "96Mi"}
DEFAULT_LIMITS: Amounts = {"memory": "512Mi"}


class Resources(Part):
    requests: Amounts = DEFAULT_REQUESTS
    limits: Amounts = DEFAULT_LIMITS

    @model_validator(mode="after")
    def _requests_are_within_limits(self) -> Self:
        # the API server refuses such a pod, and the Deployment with it
        for name in self.requests.keys() & self.limits.keys():
            request, limit = self.requests[name], self.limits[name]
            if amount(request) > amount(limit):
                raise ValueError(
                    f"requests.{name} of {request} is above limits.{name} of {limit}; set both "
                    "(a requests or limits that is not set has the defaults: cpu 100m, memory 96Mi; memory 512Mi)"
                )
        return self


class Autoscaling(Part):
    min_replicas: int = 1
    max_replicas: int
    cpu_percent: int = 80


class Relay(Part):
    """Without autoscaling there are `replicas` pods."""

    replicas: int = 1
    autoscaling: Autoscaling | None = None
    resources: Resources = Resources()

    @property
    def fewest_pods(self) -> int:
        return self.autoscaling.min_replicas if self.autoscaling else self.replicas

    @property
    def most_pods(self) -> int:
        return self.autoscaling.max_replicas if self.autoscaling else self.replicas


class Queue(Part):
    concurrency: int = 64
    max_depth: int = 256
    max_wait: Duration = 10.0
    weight: int = 1
    guaranteed_seats: int = 0


class ModelLimit(Part):
    name: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Limits(Part):
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    burst_seconds: int = 10
    models: tuple[ModelLimit, ...] = ()


class ApiKey(Part):
    """A key of the tenant. The operator makes it, or the platform brings the digest of one that it made itself."""

    name: str
    source: Literal["Generated", "Digest"] = "Generated"
    priority: Literal["high", "normal", "low"] = "normal"
    weight: int = 1
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class KeyRotation(Part):
    """Holds how generated keys are replaced. every is how old one becomes, None for as old as may be; overlap is how long the key
    before it is accepted beside it. Seconds.
    """

    every: Duration | None = None
    overlap: Duration = 86_400.0

    @model_validator(mode="after")
    def _one_rotation_ends_before_the_next(self) -> Self:
        if self.every is not None and self.every < 3600:
            raise ValueError("every is below 1h; write 1h or more")
        if self.overlap < 60:
            raise ValueError("overlap is below 1m; write 1m or more")
        if self.every is not None and self.overlap >= self.every:
            raise ValueError(
                "overlap (24h if not set) must be shorter than every; lower overlap or raise every"
            )
        return self


class Peer(Part):
    """A caller that may reach the relay: exactly one of the two fields is set."""

    namespace: str | None = None
    cidr: Cidr | None = None


class Tls(Part):
    secret_name: str


_SHARES = re.compile(r"shared?-ip|sharing")
"""In the names of annotations by which load balancers give several Services one address."""


class Entry(Part):
    """The tenant's own Service."""

    type: Literal["ClusterIP", "LoadBalancer"] = "ClusterIP"
    load_balancer_class: str | None = None
    annotations: dict[str, str] = {}
    load_balancer_source_ranges: tuple[Cidr, ...] = ()

    @model_validator(mode="after")
    def _nothing_is_shared(self) -> Self:
        for name in self.annotations:
            if _SHARES.search(name):
                raise ValueError(
                    f"annotation {name} gives several Services one address, which tenants would share; remove it"
                )
        return self


class Network(Part):
    allow_from: tuple[Peer, ...] = ()
    service: Entry = Entry()
    tls: Tls | None = None

    @property
    def callers(self) -> tuple[Peer, ...]:
        """Everybody whom the network policy lets through, callers of the load balancer among them."""
        ranges = self.service.load_balancer_source_ranges
        return (*self.allow_from, *(Peer(cidr=one) for one in ranges))


class Budget(Part):
    """An amount for a day or a month of the zone, in USD as text."""

    amount: str
    period: Literal["Day", "Month"] = "Month"
    hard: bool = True
    alert_at_percent: tuple[int, ...] = (50, 80, 100)


class Credit(Part):
    """Calls are served from what was paid in advance; an alert below each of these amounts."""

    alert_below: tuple[str, ...] = ()


class SessionCaps(Part):
    """The most of one X-Session-ID."""

    calls: int | None = None
    tokens: int | None = None
    amount: str | None = None


class Billing(Part):
    """What the ledger charges the tenant by, and what it may spend."""

    price_list: str | None = None
    markup_percent: int = 0
    zone: str = "UTC"
    currency: str | None = None
    budget: Budget | None = None
    credit: Credit | None = None
    on_ledger_away: Literal["Refuse", "Serve"] = "Refuse"
    on_unpriced: Literal["Refuse", "Serve"] | None = None
    on_abandoned: Literal["Waive", "Charge"] = "Waive"
    session_caps: SessionCaps | None = None


class ToolLimit(Part):
    name: str
    requests_per_minute: int


class Idempotency(Part):
    tools: tuple[str, ...]
    window: Duration = 600.0


class ToolGrant(Part):
    """What the tenant may use of one ToolServer, by the names that the server gives it."""

    server: str
    prefix: str = ""
    tools: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tool_limits: tuple[ToolLimit, ...] = ()
    idempotency: Idempotency | None = None
    context: Literal["Omit", "Inject"] = "Omit"


class Tools(Part):
    """What the tenant may use of tool servers; what no grant names it may not, nor offer to a model."""

    grants: tuple[ToolGrant, ...] = ()
    on_denied: Literal["Hide", "Refuse"] = "Hide"


class TenantSpec(Part):
    """tier is the one that has supplied what was left out (api/tiers.py), empty without one."""

    tier: str = ""
    namespace_policy: Literal["Create", "Adopt"] = "Create"
    deletion_policy: Literal["Delete", "Retain"] = "Delete"
    suspend: bool = False
    relay: Relay = Relay()
    queue: Queue = Queue()
    limits: Limits = Limits()
    api_keys: tuple[ApiKey, ...] = (ApiKey(name=names.DEFAULT_API_KEY),)
    key_rotation: KeyRotation | None = None
    network: Network = Network()
    billing: Billing = Billing()
    tools: Tools | None = None

    @property
    def keeps_namespace(self) -> bool:
        """Tells whether the namespace stays when the Tenant goes."""
        return self.namespace_policy == "Adopt" or self.deletion_policy == "Retain"


class Origin(Part):
    """Tells where the values of a spec come from: from_tier are the paths of those that its tier supplied.

    pods identifies what of the spec as it was written shapes the relay pods; empty where that is not known.
    """

    from_tier: tuple[str, ...] = ()
    pods: str = ""


class Tenant(Resource):
    spec: TenantSpec
    origin: Origin = Origin()
