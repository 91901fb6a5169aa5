"""Provider: an upstream the platform owns."""

from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from cryptography import x509
from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from relay_operator.api.custom_resource import Part, Resource
from relay_operator.api.quantities import Cidr, Duration

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderText = Annotated[str, StringConstraints(pattern=r"^[ -~]*$")]
"""RFC 9110 sections 5.1 and 5.5. The schema of the custom resource says so as well, if it is as new as the operator: one
header that relays refuse would stop the whole document of each tenant that uses the Provider.
"""


_FORBIDDEN_HEADERS = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "http2-settings",
        "accept-encoding", "content-encoding", "content-length", "content-type", "expect",
        "traceparent", "x-request-id",
    }
)  # fmt: skip
"""Hop-by-hop fields (RFC 9110 section 7.6.1), fields that frame or encode a body, and those that relays write for each call."""


def _settable(name: str) -> str:
    if name.lower() in _FORBIDDEN_HEADERS:
        raise ValueError(f"{name.lower()} is a header that relays write themselves; remove it")
    return name


def _carries_key(name: str) -> str:
    if name.lower() == "host":
        raise ValueError(
            "host says which server is meant; choose the header that the provider reads its key from"
        )
    return name


SettableName = Annotated[HeaderName, AfterValidator(_settable)]
KeyHeader = Annotated[SettableName, AfterValidator(_carries_key)]


def host_of(url: str) -> str:
    """Returns the host of a URL. Raises ValueError for a number that resolvers take for an address, like 127.1 or 0x7f000001."""
    host = urlsplit(url).hostname or ""
    last = host.rstrip(".").rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):
        try:
            ip_address(host)
        except ValueError as error:
            raise ValueError("write an IPv4 address as four decimal numbers") from error
    return host


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
        host_of(url or "")
        if url is not None and not all("!" <= one <= "~" for one in url):
            raise ValueError(
                "write a URL of visible ASCII characters (xn--... for other letters in a name)"
            )
        if parts.username is not None or parts.password is not None:
            raise ValueError("write a URL without credentials; name a Secret in auth")
        return url


class Auth(Part):
    secret_name: str
    secret_key: str = "api-key"  # noqa: S105 - the name of an entry
    header: KeyHeader = "Authorization"
    scheme: HeaderText = "Bearer"


class ProxyAuth(Part):
    secret_name: str
    username_key: str = "username"
    password_key: str = "password"  # noqa: S105 - the name of an entry


class Proxy(Part):
    """An HTTP proxy that relays reach the provider through."""

    url: str
    egress_cidrs: tuple[Cidr, ...] = Field(default=(), alias="egressCIDRs")
    auth: ProxyAuth | None = None

    @field_validator("url")
    @classmethod
    def _has_a_host_and_a_port(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError("write http://, a host and a port from 1 to 65535")
        host_of(url)
        return url

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if not self.egress_cidrs and not self.address:
            raise ValueError("name the proxy's addresses in egressCIDRs, or write one in url")
        return self

    @property
    def address(self) -> str:
        """The host where it is an address and no name, else empty."""
        try:
            return str(ip_address(self.host))
        except ValueError:
            return ""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0


class ClientCertificate(Part):
    """A certificate and its key in the entries tls.crt and tls.key of a Secret."""

    secret_name: str


class Capabilities(Part):
    """Holds what a model can do, as far as somebody has said so. Sizes are in tokens."""

    context_window: int | None = None
    max_output_tokens: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    audio: bool | None = None
    structured_output: bool | None = None


class Model(Part):
    name: str
    upstream_name: str | None = None
    input_price: int = 0
    output_price: int = 0
    prices: tuple[dict[str, Any], ...] = ()
    """As they were written: the ledger reads them, and says what is wrong with them."""
    answers_as: tuple[str, ...] = ()
    drop_parameters: tuple[str, ...] = ()
    capabilities: Capabilities | None = None


class Limits(Part):
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @property
    def is_limited(self) -> bool:
        """Tells whether there is a quota to divide."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None


class ProbeStream(Part):
    """A probe that costs a few tokens: which model is asked for a stream, and how often."""

    model: str
    every: Duration = 86_400.0


class RetryOn(Part):
    statuses: tuple[int, ...] = ()
    failures: tuple[str, ...] = ()


class AfterDisconnect(Part):
    """What becomes of an answer whose caller has left."""

    policy: Literal["Cancel", "Drain"]
    max_seconds: int = 30
    max_tokens: int = 16_384


def _certificates(text: str) -> str:
    """Checks that relays can trust what the text holds; a bundle that they cannot read would stop their whole document."""
    if not text.isascii():
        raise ValueError("write PEM certificates without other letters than ASCII")
    try:
        x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise ValueError("a certificate in it cannot be read") from error
    return text


PemCertificates = Annotated[str, AfterValidator(_certificates)]

LabelName = Annotated[str, StringConstraints(min_length=1, max_length=317)]
LabelValue = Annotated[str, StringConstraints(max_length=63)]


class LabelRequirement(Part):
    """One expression of a label selector."""

    key: LabelName
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[LabelValue, ...] = ()

    @model_validator(mode="after")
    def _has_values_where_they_count(self) -> Self:
        if (self.operator in ("In", "NotIn")) != bool(self.values):
            raise ValueError("values go with In and NotIn, which need at least one")
        return self


class TenantSelector(Part):
    """A selector of Tenants by their labels: all of it has to hold."""

    match_labels: dict[LabelName, LabelValue] = {}
    match_expressions: tuple[LabelRequirement, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.match_labels and not self.match_expressions:
            raise ValueError("set matchLabels or matchExpressions, or remove allowedTenants")
        return self


class Terms(Part):
    """The fields of a Provider's spec that say whom it is open to."""

    allowed_tenants: TenantSelector | None = None
    region: LabelValue | None = None


class ProviderSpec(Part):
    endpoint: Endpoint
    auth: Auth | None = None
    headers: dict[SettableName, HeaderText] = {}
    egress_cidrs: tuple[Cidr, ...] = Field(default=(), alias="egressCIDRs")
    ca_bundle: PemCertificates | None = None
    client_certificate: ClientCertificate | None = None
    proxy: Proxy | None = None
    first_byte_timeout: Duration | None = None
    idle_timeout: Duration | None = None
    keep_alive: Duration | None = None
    after_disconnect: AfterDisconnect | None = None
    models: tuple[Model, ...] = ()
    limits: Limits = Limits()
    cached_token_weight: float = 1.0
    stream_usage: bool = True
    retry_on: RetryOn | None = None
    cool_down: Duration | None = None
    allowed_tenants: TenantSelector | None = None
    region: LabelValue | None = None
    probe_stream: ProbeStream | None = None

    @model_validator(mode="after")
    def _no_header_comes_twice(self) -> Self:
        named = [name.lower() for name in self.headers]
        if self.auth is not None and self.auth.header.lower() in named:
            raise ValueError(
                f"headers: {self.auth.header} carries the key that auth names; remove it from headers"
            )
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"headers: {twice} stands there twice; remove one of the two")
        return self

    @property
    def terms(self) -> Terms:
        """Whom the Provider is open to."""
        return Terms(allowed_tenants=self.allowed_tenants, region=self.region)


class Provider(Resource):
    spec: ProviderSpec
    cluster_domain: str = "cluster.local"
    """Of the cluster's DNS, which no object tells."""

    @property
    def secret_names(self) -> tuple[str, ...]:
        """Names of the Secrets, in the operator's namespace, that hold what relays show the provider and its proxy."""
        proxy = self.spec.proxy
        named = (self.spec.auth, self.spec.client_certificate, proxy.auth if proxy else None)
        return tuple(one.secret_name for one in named if one is not None)

    @property
    def host(self) -> str:
        """Host of a Provider given by url."""
        return urlsplit(self.spec.endpoint.url or "").hostname or ""

    @property
    def url(self) -> str:
        """Base URL of the OpenAI-compatible API, without a trailing slash."""
        ref = self.spec.endpoint.service_ref
        if ref is not None:
            return f"http://{ref.name}.{ref.namespace}.svc.{self.cluster_domain}:{ref.port}{ref.path.rstrip('/')}"
        return (self.spec.endpoint.url or "").rstrip("/")
