"""Provider: an upstream the platform owns."""

from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from relay_operator.api.custom_resource import Part, Resource
from relay_operator.api.quantities import Duration


class ServiceRef(Part):
    namespace: str
    name: str
    port: int
    path: str = "/v1"


class Endpoint(Part):
    """An address: exactly one of the two fields is set."""

    url: str | None = None
    service_ref: ServiceRef | None = None

    @field_validator("url")
    @classmethod
    def _has_a_host_and_a_port(cls, url: str | None) -> str | None:
        # the API server's own check of a URL accepts any digits for a port, and no host
        parts = urlsplit(url or "http://none")
        if not parts.hostname or parts.port == 0:  # reading port raises ValueError above 65535
            raise ValueError("write a URL with a host and a port from 1 to 65535")
        return url


class Auth(Part):
    secret_name: str
    secret_key: str = "api-key"  # noqa: S105 - the name of an entry
    header: str = "Authorization"
    scheme: str = "Bearer"


class Model(Part):
    name: str
    upstream_name: str | None = None
    input_price: int = 0
    output_price: int = 0
    drop_parameters: tuple[str, ...] = ()


class Limits(Part):
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class RetryOn(Part):
    statuses: tuple[int, ...] = ()
    failures: tuple[str, ...] = ()


class ProviderSpec(Part):
    endpoint: Endpoint
    auth: Auth | None = None
    headers: dict[str, str] = {}
    egress_cidrs: tuple[str, ...] = Field(default=(), alias="egressCIDRs")
    models: tuple[Model, ...] = ()
    limits: Limits = Limits()
    cached_token_weight: float = 1.0
    stream_usage: bool = True
    retry_on: RetryOn | None = None
    cool_down: Duration | None = None


class Provider(Resource):
    spec: ProviderSpec
    status: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """Base URL of the OpenAI-compatible API, without a trailing slash."""
        ref = self.spec.endpoint.service_ref
        if ref is not None:
            return f"http://{ref.name}.{ref.namespace}.svc.cluster.local:{ref.port}{ref.path.rstrip('/')}"
        return (self.spec.endpoint.url or "").rstrip("/")
