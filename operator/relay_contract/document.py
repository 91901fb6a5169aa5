"""The relay document: what the control plane writes and the relay obeys.

It holds no secret: API keys appear as SHA-256 digests, provider keys as file names.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, StringConstraints, model_validator

from relay_contract.part import Model as Model
from relay_contract.part import Name as Name
from relay_contract.part import Part as Part
from relay_contract.part import Sha256Hex as Sha256Hex
from relay_contract.spending import Spending
from relay_contract.tools.manifest import Manifest
from relay_contract.tools.tool_server import ToolServer

MAX_DOCUMENT_BYTES = 512 * 1024
"""An envelope, which is text in text, may have twice this: as much as a ConfigMap holds. The operator admits routes only
while there is room.
"""

MAX_GENERATION = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly (RFC 8259, section 6)."""

MAX_EPOCH = 2**31 - 1
"""The largest that a Lease can count (leaseTransitions is an int32)."""

MAX_TIME = 253_402_300_799
"""The last second of the year 9999, the latest that a certificate can name (RFC 5280, section 4.1.2.5)."""
MAX_PROBLEM = 256
"""Characters of a sentence about a certificate."""

API_KEY_PREFIX = "sk-relay-"

Priority = Literal["high", "normal", "low"]
Signal = Literal["Overhead", "FirstToken", "Total"]
"""A latency of an attempt: added by the relay itself, until the first token, until the end."""
SIGNALS: tuple[Signal, ...] = get_args(Signal)
Failure = Literal["Timeout", "Disconnect", "InvalidAnswer"]
"""A failure of a provider without a status: silence, a closed connection, an answer that is none."""
MAX_COOL_DOWN_SECONDS = 3600.0
Percent = Annotated[int, Field(ge=0, le=100)]
PreflightToken = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._/-]{1,64}$")]
"""Names one preflight of a route: a relay that has passed it does not repeat it."""


def _unique(noun: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{noun} {name} stands twice in the document")
        seen.add(name)


def _is_unset(value: object) -> bool:
    """Says that a field holds its default and stays out of the text: relays of the time before it refuse what they do not know."""
    return value is None or value is True or value == ()


def _is_zero(value: object) -> bool:
    """Says the same of a count."""
    return value == 0


class ApiKey(Part):
    """One credential of the tenant, known by digest only. weight shares the tenant's seats between keys.

    Its rates bind beside the tenant's; None is no limit of its own. Each pod holds 1/replicas of them. During a rotation the
    name stands for two keys: previous_sha256 is the one that callers may still have, next_sha256 the one that they will be
    given as soon as every pod knows it.
    """

    name: Name
    sha256: Sha256Hex
    previous_sha256: Annotated[Sha256Hex | None, Field(exclude_if=_is_unset)] = None
    next_sha256: Annotated[Sha256Hex | None, Field(exclude_if=_is_unset)] = None
    priority: Priority = "normal"
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None


class Queue(Part):
    """The tenant's admission queue, whole tenant (all replicas together)."""

    concurrency: Annotated[int, Field(ge=1, le=100_000)] = 64
    max_depth: Annotated[int, Field(ge=0, le=100_000)] = 256
    max_wait_seconds: Annotated[float, Field(ge=0, le=600)] = 10.0
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    guaranteed_seats: Annotated[int, Field(ge=0, le=100_000)] = 0


class ModelLimit(Part):
    name: Model
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None


class Limits(Part):
    """Rates of the whole tenant; None is unlimited. Each pod holds 1/replicas of them."""

    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None
    burst_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    models: tuple[ModelLimit, ...] = ()


class ProviderAuth(Part):
    """Presentation of a provider's key. key_file is a name below UPSTREAM_KEYS_MOUNT; None sends no key."""

    header: Name = "Authorization"
    scheme: str = "Bearer"
    key_file: Name | None = None


def _is_none(value: object) -> bool:
    return value is None


ParameterPath = Annotated[
    str,
    StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){0,5}$"),
]
"""A parameter of a call's body; a dot leads into an object, or into each object of an array."""
KEPT_PARAMETERS = frozenset({"model", "stream", "previous_response_id"})
"""The relay routes calls and reads answers by them."""


class Proxy(Part):
    """An HTTP proxy that gives tunnels to the provider (CONNECT, RFC 9110 section 9.3.6).

    credentials_file is a name below UPSTREAM_KEYS_MOUNT, of a file that holds `user:password`; None sends none.
    """

    host: Name
    port: Annotated[int, Field(ge=1, le=65535)]
    credentials_file: Name | None = None


class ClientCertificate(Part):
    """The relay's certificate towards the provider, as PEM files below UPSTREAM_KEYS_MOUNT."""

    certificate_file: Name
    key_file: Name


class Capabilities(Part):
    """Holds what the platform says a model can do; None where it says nothing. Sizes are in tokens."""

    context_window: Annotated[int | None, Field(ge=1, exclude_if=_is_unset)] = None
    max_output_tokens: Annotated[int | None, Field(ge=1, exclude_if=_is_unset)] = None
    tools: Annotated[bool | None, Field(exclude_if=_is_none)] = None
    vision: Annotated[bool | None, Field(exclude_if=_is_none)] = None
    audio: Annotated[bool | None, Field(exclude_if=_is_none)] = None
    structured_output: Annotated[bool | None, Field(exclude_if=_is_none)] = None


class ProviderModel(Part):
    """A model of a provider's catalogue. Prices are micro-USD per million tokens.

    The provider refuses drop_parameters for this model; the relay takes them out of calls.
    """

    name: Model
    upstream_name: Model
    input_price: Annotated[int, Field(ge=0)] = 0
    output_price: Annotated[int, Field(ge=0)] = 0
    drop_parameters: Annotated[
        tuple[ParameterPath, ...], Field(max_length=16, exclude_if=_is_unset)
    ] = ()
    capabilities: Annotated[Capabilities | None, Field(exclude_if=_is_unset)] = None

    @model_validator(mode="after")
    def _keeps_what_the_relay_reads(self) -> Self:
        for name in KEPT_PARAMETERS.intersection(self.drop_parameters):
            raise ValueError(
                f"dropParameters: {name} cannot be dropped, relays route and read by it"
            )
        return self


class ProviderLimits(Part):
    """This tenant's slice of the provider's quota, whole tenant; None is unlimited."""

    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None


class RetryOn(Part):
    """Failures of a provider after which a call is tried at the next target, besides those that prove it unprocessed."""

    statuses: Annotated[
        tuple[Annotated[int, Field(ge=400, le=599)], ...], Field(max_length=32)
    ] = ()
    failures: Annotated[tuple[Failure, ...], Field(max_length=3)] = ()


class Drain(Part):
    """Bounds within which an answer whose caller has left is read on, until the provider tells what the call used.

    max_seconds and max_tokens (of output, as far as a stream shows them) count from the moment at which the caller left.
    """

    max_seconds: Annotated[int, Field(ge=1, le=600)]
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)]


def _is_false(value: object) -> bool:
    return value is False


class Provider(Part):
    """An upstream. url ends before the endpoint's own path, e.g. https://api.example.com/v1.

    closed says that the tenant may not use it any more: nothing is sent there, whatever a route says.
    cached_token_weight is what an input token from the provider's prompt cache counts in limits of tokens.
    With stream_usage false it is not asked for the usage of streams. cool_down_seconds bounds for how long a model is passed
    over that said when to come back. proxy and client_certificate go with https alone. Times of None are left to the relay.
    Without drain an answer whose caller has left is cancelled.
    """

    name: Name
    url: Annotated[
        str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")
    ]
    auth: ProviderAuth = ProviderAuth()
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    ca_bundle: str | None = None
    models: tuple[ProviderModel, ...] = ()
    limits: ProviderLimits = ProviderLimits()
    cached_token_weight: Annotated[float, Field(ge=0, le=1)] = 1.0
    stream_usage: Annotated[bool, Field(exclude_if=_is_unset)] = True
    retry_on: Annotated[RetryOn | None, Field(exclude_if=_is_unset)] = None
    cool_down_seconds: Annotated[
        float | None, Field(ge=0, le=MAX_COOL_DOWN_SECONDS, exclude_if=_is_unset)
    ] = None
    proxy: Annotated[Proxy | None, Field(exclude_if=_is_unset)] = None
    client_certificate: Annotated[ClientCertificate | None, Field(exclude_if=_is_unset)] = None
    first_byte_timeout_seconds: Annotated[
        float | None, Field(ge=1, le=3600, exclude_if=_is_unset)
    ] = None
    idle_timeout_seconds: Annotated[float | None, Field(ge=1, le=3600, exclude_if=_is_unset)] = None
    keep_alive_seconds: Annotated[float | None, Field(ge=0, le=600, exclude_if=_is_unset)] = None
    drain: Annotated[Drain | None, Field(exclude_if=_is_unset)] = None
    closed: Annotated[bool, Field(exclude_if=_is_false)] = False

    @property
    def secret_files(self) -> tuple[tuple[str, ...], ...]:
        """The files below UPSTREAM_KEYS_MOUNT that the relay needs for this provider; those of a group belong together."""
        proxy, shown = self.proxy, self.client_certificate
        groups = (
            (self.auth.key_file,),
            (proxy.credentials_file if proxy else None,),
            (shown.certificate_file, shown.key_file) if shown else (None,),
        )
        return tuple(
            tuple(file for file in group if file is not None)
            for group in groups
            if None not in group
        )

    @model_validator(mode="after")
    def _tunnels_hold_tls(self) -> Self:
        secured = self.proxy or self.client_certificate
        if secured is not None and not self.url.startswith("https://"):
            raise ValueError("proxy and clientCertificate go with an https URL alone")
        return self


class Side(Part):
    """One destination of a route. model None keeps the model asked for.

    The fingerprint names what is measured: the same provider and model carry the same fingerprint everywhere.
    """

    provider: Name
    model: Model | None = None
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]


class Match(Part):
    """Empty matches everything; the most specific route wins, of those alike the first. task is the header X-Task-Type."""

    models: tuple[Model, ...] = ()
    tasks: tuple[Name, ...] = ()


class LatencyObjective(Part):
    """Above max_milliseconds an attempt counts as slow for this signal."""

    signal: Signal
    max_milliseconds: Annotated[float, Field(gt=0)]


class Breaker(Part):
    """Rule by which a relay sends canary traffic back to stable: it trips when, within window_seconds, at least
    min_failures canary attempts failed and they are failure_percent of those finished, or when some failed in a row. It
    then opens for a second, and after each probe that fails for twice as long, up to open_seconds."""

    enabled: bool = True
    window_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    min_failures: Annotated[int, Field(ge=1)] = 10
    failure_percent: Percent = 50
    open_seconds: Annotated[float, Field(gt=0)] = 30.0


class Route(Part):
    """A route of the tenant: canary_percent of the sessions go to canary; shadow_percent of the requests are copied to it.

    preflight asks the pods to probe the canary, and stands for as long as they are to try.
    """

    name: Name
    match: Match = Match()
    stable: Side
    canary: Side | None = None
    canary_percent: Percent = 0
    shadow_percent: Percent = 0
    fallback: tuple[Side, ...] = ()
    objectives: tuple[LatencyObjective, ...] = ()
    breaker: Breaker = Breaker()
    salt: str = ""
    preflight: Annotated[PreflightToken | None, Field(exclude_if=_is_unset)] = None

    @model_validator(mode="after")
    def _weight_needs_canary(self) -> Self:
        if self.canary is None and (self.canary_percent or self.shadow_percent):
            raise ValueError(f"route {self.name}: canaryPercent or shadowPercent without a canary")
        if self.canary is None and self.preflight is not None:
            raise ValueError(f"route {self.name}: preflight without a canary")
        return self


class Catalogue(Part):
    """Providers of the platform, with their models and prices, and its tool servers."""

    providers: tuple[Provider, ...] = ()
    tool_servers: Annotated[tuple[ToolServer, ...], Field(exclude_if=_is_unset)] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        _unique("provider", (provider.name for provider in self.providers))
        _unique("tool server", (server.name for server in self.tool_servers))
        return self


class TenantDocument(Part):
    """One tenant's part of a document: identity, keys, queue, limits, routes.

    uid is the Tenant object's: a recreated tenant inherits nothing. replicas is the number of pods that share the
    tenant's limits and seats (ready or terminating). client_tls asks for TLS with callers: without a certificate nobody is
    served. renewals grows when callers are taken away by a network policy, which no connection notices that is there
    already: connections that were made before are closed. spending is None where nothing
    bounds it. Without tools the tenant has no tool servers.
    """

    name: Name
    uid: Name
    namespace: Name
    tier: str = ""
    suspended: bool = False
    client_tls: bool = False
    renewals: Annotated[int, Field(ge=0, exclude_if=_is_zero)] = 0
    replicas: Annotated[int, Field(ge=1)] = 1
    keys: tuple[ApiKey, ...] = ()
    queue: Queue = Queue()
    limits: Limits = Limits()
    routes: tuple[Route, ...] = ()
    spending: Annotated[Spending | None, Field(exclude_if=_is_unset)] = None
    tools: Annotated[Manifest | None, Field(exclude_if=_is_unset)] = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        _unique("route", (route.name for route in self.routes))
        _unique("key", (key.name for key in self.keys))
        return self


class Document(Part):
    """Everything one tenant's relay pods need, whole and consistent.

    generation grows with every change; a relay never goes back. epoch is the number of the leader that composed it, 0 of an
    operator that knows none: a relay to which a later leader has shown itself refuses it.
    """

    version: Literal[1] = 1
    generation: Annotated[int, Field(ge=1, le=MAX_GENERATION)]
    epoch: Annotated[int, Field(ge=0, le=MAX_EPOCH, exclude_if=_is_zero)] = 0
    catalogue: Catalogue = Catalogue()
    tenant: TenantDocument

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        providers = {provider.name for provider in self.catalogue.providers}
        for route in self.tenant.routes:
            for side in (route.stable, route.canary, *route.fallback):
                if side is not None and side.provider not in providers:
                    raise ValueError(
                        f"route {route.name} names provider {side.provider}, which is not in the document"
                    )
        return self

    @model_validator(mode="after")
    def _granted_servers_exist(self) -> Self:
        servers = {server.name for server in self.catalogue.tool_servers}
        for grant in self.tenant.tools.grants if self.tenant.tools is not None else ():
            if grant.server not in servers:
                raise ValueError(
                    f"tools grant {grant.server}, a server that is not in the document"
                )
        return self


class ServedCertificate(Part):
    """TLS with callers in a pod. digest is the SHA-256 of the tls.crt that all its workers serve, empty while they serve
    nobody; not_after is the end of its time, in seconds since the epoch.

    problem says why the certificate that is mounted now is not served; empty while it is.
    """

    digest: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""
    not_after: Annotated[int, Field(ge=0, le=MAX_TIME)] = 0
    problem: Annotated[str, StringConstraints(max_length=MAX_PROBLEM)] = ""


class Acknowledgement(Part):
    """Document in force in every worker process of a pod; generation 0 and an empty digest before the first.

    missing_keys names the document's providers whose key file is not there (yet); calls to them cannot succeed. tls is
    None in a pod that serves plain HTTP.
    """

    digest: Annotated[str, StringConstraints(max_length=64)]
    generation: Annotated[int, Field(ge=0, le=MAX_GENERATION)]
    workers: Annotated[int, Field(ge=0, le=1024)]
    missing_keys: Annotated[tuple[Name, ...], Field(max_length=1024)] = ()
    tls: ServedCertificate | None = None


def canonical_payload(document: Document) -> str:
    """Returns the document's text, byte-identical for equal documents."""
    return canonical_text(document.model_dump(mode="json", by_alias=True))


def canonical_text(value: Any) -> str:
    """Returns a JSON value as it stands in the text of a document."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
