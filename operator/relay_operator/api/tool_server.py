"""ToolServer: a server of tools, prompts and resources that the platform owns, reached by the Model Context Protocol."""

from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from relay_operator.api import provider
from relay_operator.api.custom_resource import Part, Resource
from relay_operator.api.provider import PemCertificates
from relay_operator.api.quantities import Cidr

OnChange = Literal["Suspend", "Accept"]

_OWN_TO_TOOLS: Final = ("mcp-", "content-", "accept", "transfer-encoding", "connection")
"""Beginnings of header fields that every call to a tool server carries: relays refuse a document that sets one."""


def _carries_credential(name: str) -> str:
    if name.lower().startswith(_OWN_TO_TOOLS):
        raise ValueError(f"{name.lower()} is a header that relays write themselves; choose another")
    return name


class ServiceRef(provider.ServiceRef):
    path: str = "/mcp"


class Endpoint(provider.Endpoint):
    service_ref: ServiceRef | None = None


class Auth(provider.Auth):
    """The credential of a tool server. per_tenant: the Secret has an entry per Tenant, of its name; secret_key is what the operator shows."""

    header: Annotated[provider.KeyHeader, AfterValidator(_carries_credential)] = "Authorization"
    per_tenant: bool = False


class ToolServerSpec(Part):
    """on_change says what becomes of a definition that is another than the approved one, or that the server has added.

    prices are as they were written: the ledger reads them, and says what is wrong with them.
    """

    endpoint: Endpoint
    auth: Auth | None = None
    egress_cidrs: tuple[Cidr, ...] = Field(default=(), alias="egressCIDRs")
    ca_bundle: PemCertificates | None = None
    on_change: OnChange = "Suspend"
    prices: tuple[dict[str, Any], ...] = ()

    @model_validator(mode="after")
    def _trusts_somebody_by_tls_alone(self) -> Self:
        url = self.endpoint.url or ""
        if self.ca_bundle is not None and not url.startswith("https://"):
            raise ValueError("caBundle is used for an https endpoint.url alone; remove it")
        return self


class ToolServer(Resource):
    spec: ToolServerSpec
    cluster_domain: str = "cluster.local"
    """Of the cluster's DNS, which no object tells."""

    @property
    def secret_names(self) -> tuple[str, ...]:
        """Names of the Secrets, in the operator's namespace, that hold what relays show the server."""
        return () if self.spec.auth is None else (self.spec.auth.secret_name,)

    @property
    def host(self) -> str:
        """Host of a server given by url."""
        return urlsplit(self.spec.endpoint.url or "").hostname or ""

    @property
    def url(self) -> str:
        """The endpoint of the protocol, whole."""
        ref = self.spec.endpoint.service_ref
        if ref is None:
            return self.spec.endpoint.url or ""
        return f"http://{ref.name}.{ref.namespace}.svc.{self.cluster_domain}:{ref.port}{ref.path}"
