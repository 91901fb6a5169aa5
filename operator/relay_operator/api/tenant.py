"""Tenant: one customer of the platform and the relay it gets."""

from typing import Any, Literal, Self

from pydantic import model_validator

from relay_operator import names
from relay_operator.api.custom_resource import Part, Resource
from relay_operator.api.quantities import Cidr, Duration, amount


class Resources(Part):
    requests: dict[str, str | int] = {"cpu": "100m", "memory": "96Mi"}
    limits: dict[str, str | int] = {"memory": "512Mi"}

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


class Relay(Part):
    replicas: int = 1
    resources: Resources = Resources()


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
    name: str
    priority: Literal["high", "normal", "low"] = "normal"
    weight: int = 1
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Peer(Part):
    """A caller that may reach the relay: exactly one of the two fields is set."""

    namespace: str | None = None
    cidr: Cidr | None = None


class Tls(Part):
    secret_name: str


class Network(Part):
    allow_from: tuple[Peer, ...] = ()
    tls: Tls | None = None


class TenantSpec(Part):
    suspend: bool = False
    relay: Relay = Relay()
    queue: Queue = Queue()
    limits: Limits = Limits()
    api_keys: tuple[ApiKey, ...] = (ApiKey(name=names.DEFAULT_API_KEY),)
    network: Network = Network()


class Tenant(Resource):
    spec: TenantSpec
    status: dict[str, Any] = {}
