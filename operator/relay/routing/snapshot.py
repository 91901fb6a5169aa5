"""A document made ready for the hot path: look-ups are dictionaries, request heads are bytes.

A snapshot is frozen; a request keeps the one it began with. Whatever the relay cannot act on (a URL with credentials, a
header that would break its line, a CA bundle that is no PEM) is refused here, before anything is in force.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import SplitResult, urlencode, urlsplit

from relay.dialect.endpoints import Endpoint
from relay.dialect.header_fields import WITHHELD_FROM_PROVIDER
from relay.http.connecting.proxy_tunnel import ProxyAddress
from relay.http.connection_pool import Origin
from relay.http.headers import HOP_BY_HOP, field_name, field_value
from relay.http.tls import provider_context
from relay.routing.sessions import session_seed
from relay.tools.chat.chat_policy import ChatPolicy
from relay.tools.chat.tenant_context import context_of
from relay.tools.permissions import Permissions
from relay.tools.reading.eras import ERAS
from relay_contract.document import (
    ApiKey,
    Breaker,
    Document,
    Failure,
    Priority,
    Provider,
    ProviderAuth,
    ProviderLimits,
    RetryOn,
    Route,
    Side,
)
from relay_contract.tools.tool_server import SESSION_REVISIONS, ToolServer

SideLabel = Literal["stable", "canary", "fallback", "shadow", "preflight"]
SERVED: Final[frozenset[SideLabel]] = frozenset({"stable", "canary", "fallback"})
"""Sides whose answers callers get."""
COOL_DOWN_SECONDS: Final = 60.0
"""Longest time for which a model is passed over that said when to come back, where its provider says nothing else."""
_DROPPED: Final = HOP_BY_HOP | WITHHELD_FROM_PROVIDER
_ROOT_DOT: Final = re.compile(r"\.(?=(?::[0-9]*)?\Z)")
"""At the end of a name it keeps the name service from trying search domains first; servers know no host of that name."""
_OWN_TO_TOOLS: Final = ("mcp-", "content-", "accept", "transfer-encoding", "connection")
"""Beginnings of header fields that every call to a tool server carries."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """The rights of an API key of the document. is_previous tells that callers are to change to the key after it."""

    name: str
    priority: Priority
    weight: int
    is_previous: bool = False


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider. heads hold, per endpoint, the request's beginning up to the fields that differ per call.

    models and drop_parameters are by the public name of a model. Timeouts are in seconds; None leaves them to the relay's
    settings.
    """

    name: str
    origin: Origin
    heads: Mapping[Endpoint, bytes]
    auth_prefix: bytes
    key_file: str | None
    dropped: frozenset[bytes]
    query_names: frozenset[str]
    models: Mapping[str, str]
    drop_parameters: Mapping[str, tuple[bytes, ...]]
    retry_statuses: frozenset[int]
    retry_failures: frozenset[Failure]
    cool_down_seconds: float
    provider: Provider
    first_byte_timeout: float | None
    idle_timeout: float | None


@dataclass(frozen=True, slots=True)
class Destination:
    """One side of a route, bound to its provider."""

    label: SideLabel
    upstream: Upstream
    model: str | None
    fingerprint: str

    def upstream_model(self, asked: str) -> str | None:
        """Returns the name the provider knows the model by; None when its catalogue does not have it."""
        public = self.model or asked
        name = self.upstream.models.get(public)
        if name is None and self.model is None and self.upstream.models:
            return None
        return name or public

    def dropped_parameters(self, asked: str) -> tuple[bytes, ...]:
        """Returns the parameters that the provider refuses for the model, as paths with dots."""
        return self.upstream.drop_parameters.get(self.model or asked, ())


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """A route, bound. objectives maps a signal to its limit in seconds."""

    name: str
    stable: Destination
    canary: Destination | None
    canary_percent: int
    shadow_percent: int
    fallback: tuple[Destination, ...]
    objectives: Mapping[str, float]
    breaker: Breaker
    session_seed: int


@dataclass(frozen=True, slots=True)
class ToolAccess:
    """Holds what the tenant may use of tool servers, and how each is reached. heads hold a request's beginning, without what differs.

    chat is what the same grants permit in chat calls. versions are the revisions of the protocol that it is served in: those that each of
    the servers speaks, so that no client takes one in which half of what it may use fails. narrowed keeps the permissions of sessions
    that began without some of the servers, by those that they have.
    """

    permissions: Permissions
    chat: ChatPolicy
    upstreams: Mapping[str, Upstream]
    heads: Mapping[str, bytes]
    versions: tuple[str, ...]
    narrowed: dict[frozenset[str], Permissions]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one document puts in force. routes is keyed by model and task, either of them None for any.

    tools is None where the tenant has none.
    """

    document: Document
    digest: str
    tenant: bytes
    suspended: bool
    keys: Mapping[bytes, KeyGrant]
    upstreams: Mapping[str, Upstream]
    plans: tuple[RoutePlan, ...]
    routes: Mapping[tuple[str | None, str | None], RoutePlan]
    models: tuple[str, ...]
    known_models: frozenset[str]
    tools: ToolAccess | None

    @property
    def chat_policy(self) -> ChatPolicy | None:
        """Returns what chat calls may offer a model; None where the tenant has no manifest, which leaves them as they are."""
        return None if self.tools is None else self.tools.chat

    @property
    def manifest_revision(self) -> str:
        """Returns the revision of the tenant's tool manifest; empty without one."""
        return "" if self.tools is None else self.tools.permissions.revision

    def all_upstreams(self) -> list[Upstream]:
        """Returns everything that calls are sent to: providers and tool servers."""
        servers = () if self.tools is None else self.tools.upstreams.values()
        return [*self.upstreams.values(), *servers]

    def quotas(self) -> dict[str, ProviderLimits]:
        """Returns the tenant's part of each provider's quota, by provider."""
        return {name: upstream.provider.limits for name, upstream in self.upstreams.items()}


class SnapshotRejected(Exception):
    """A document that is well-formed but cannot be acted on; the message names the part."""


def compile_snapshot(document: Document, digest: str) -> Snapshot:
    """Compiles the document; raises SnapshotRejected."""
    upstreams = {provider.name: _upstream(provider) for provider in document.catalogue.providers}
    plans = tuple(_plan(route, upstreams) for route in document.tenant.routes)
    models = tuple(
        dict.fromkeys(
            name
            for route, plan in zip(document.tenant.routes, plans, strict=True)
            for name in _listed(route, plan)
        )
    )
    limited = {model.name for model in document.tenant.limits.models}
    return Snapshot(
        document=document,
        digest=digest,
        tenant=document.tenant.name.encode(),
        suspended=document.tenant.suspended,
        keys=_grants(document.tenant.keys),
        upstreams=upstreams,
        plans=plans,
        routes=_index(document.tenant.routes, plans),
        models=models,
        known_models=frozenset(models) | limited,
        tools=_tool_access(document),
    )


def _grants(keys: tuple[ApiKey, ...]) -> dict[bytes, KeyGrant]:
    """Returns what each digest may; one that is valid under two names is the current key of one of them."""
    grants: dict[bytes, KeyGrant] = {}
    for key in keys:
        if key.previous_sha256 is not None:
            previous = KeyGrant(key.name, key.priority, key.weight, is_previous=True)
            grants[bytes.fromhex(key.previous_sha256)] = previous
    for key in keys:
        grant = KeyGrant(key.name, key.priority, key.weight)
        if key.next_sha256 is not None:
            grants[bytes.fromhex(key.next_sha256)] = grant
        grants[bytes.fromhex(key.sha256)] = grant
    return grants


def _upstream(provider: Provider) -> Upstream:
    try:
        return _checked_upstream(provider)
    except ValueError as error:
        raise SnapshotRejected(f"provider {provider.name}: {error}") from error


def _checked_upstream(provider: Provider) -> Upstream:
    url = urlsplit(provider.url)
    if url.hostname is None or url.username is not None or url.password is not None:
        raise ValueError("the URL needs a host and takes no credentials")
    if provider.ca_bundle is not None:
        provider_context(provider.ca_bundle)
    fixed = [(field_name(name), field_value(value)) for name, value in provider.headers.items()]
    auth_name = field_name(provider.auth.header)
    scheme = field_value(provider.auth.scheme)
    names = {name for name, _ in fixed}
    retry_on = provider.retry_on or RetryOn()
    cool_down = provider.cool_down_seconds
    standard = [
        (b"host", _ROOT_DOT.sub("", url.netloc).encode()),
        (b"accept-encoding", b"identity"),
    ]
    fields = [field for field in standard if field[0] not in names] + fixed
    return Upstream(
        name=provider.name,
        origin=_origin(provider, url),
        heads={endpoint: _head(url, endpoint, provider.query, fields) for endpoint in Endpoint},
        auth_prefix=auth_name + b": " + (scheme + b" " if scheme else b""),
        key_file=provider.auth.key_file,
        dropped=_DROPPED | names | {auth_name},
        query_names=frozenset(name.lower() for name in provider.query),
        models={model.name: model.upstream_name for model in provider.models},
        drop_parameters={
            model.name: tuple(path.encode() for path in model.drop_parameters)
            for model in provider.models
            if model.drop_parameters
        },
        retry_statuses=frozenset(retry_on.statuses),
        retry_failures=frozenset(retry_on.failures),
        cool_down_seconds=COOL_DOWN_SECONDS if cool_down is None else cool_down,
        provider=provider,
        first_byte_timeout=provider.first_byte_timeout_seconds,
        idle_timeout=provider.idle_timeout_seconds,
    )


def _tool_access(document: Document) -> ToolAccess | None:
    manifest = document.tenant.tools
    if manifest is None:
        return None
    granted = {grant.server for grant in manifest.grants}
    servers = [one for one in document.catalogue.tool_servers if one.name in granted]
    upstreams = {server.name: _tool_upstream(server) for server in servers}
    permissions = Permissions(manifest, document.tenant.uid)
    return ToolAccess(
        permissions=permissions,
        chat=ChatPolicy(permissions, manifest.on_denied, context_of(document.tenant, permissions)),
        upstreams=upstreams,
        heads={
            server.name: _tool_head(urlsplit(server.url), upstreams[server.name])
            for server in servers
        },
        versions=SESSION_REVISIONS if any(one.needs_sessions for one in servers) else tuple(ERAS),
        narrowed={},
    )


def _tool_upstream(server: ToolServer) -> Upstream:
    """Returns a tool server as connections and credentials know it, by a name that no provider has."""
    for name in server.headers:
        if name.lower().startswith(_OWN_TO_TOOLS):
            raise SnapshotRejected(f"tool server {server.name}: header {name} is the relay's own")
    return _upstream(
        Provider(
            name=f"tools/{server.name}",
            url=server.url,
            auth=ProviderAuth(header=server.header, scheme=server.scheme, key_file=server.key_file),
            headers=server.headers,
            ca_bundle=server.ca_bundle,
        )
    )


def _tool_head(url: SplitResult, upstream: Upstream) -> bytes:
    _, _, fields = upstream.heads[Endpoint.CHAT].partition(b"\r\n")
    return b"POST " + (field_value(url.path) or b"/") + b" HTTP/1.1\r\n" + fields


def _origin(provider: Provider, url: SplitResult) -> Origin:
    assert url.hostname is not None
    return Origin(
        name=provider.name,
        scheme=url.scheme,
        host=url.hostname,
        port=url.port or _DEFAULT_PORTS[url.scheme],
        ca_bundle=provider.ca_bundle,
        keepalive=provider.keep_alive_seconds,
        proxy=_proxy(provider),
        certificate_files=_certificate_files(provider),
    )


def _proxy(provider: Provider) -> ProxyAddress | None:
    proxy = provider.proxy
    if proxy is None:
        return None
    return ProxyAddress(proxy.host, proxy.port, proxy.credentials_file)


def _certificate_files(provider: Provider) -> tuple[str, str] | None:
    shown = provider.client_certificate
    return None if shown is None else (shown.certificate_file, shown.key_file)


def _head(
    url: SplitResult,
    endpoint: Endpoint,
    query: Mapping[str, str],
    fields: list[tuple[bytes, bytes]],
) -> bytes:
    """Renders request line and fixed fields; a call adds its own query and fields."""
    path = field_value(url.path.rstrip("/") + endpoint.suffix)
    target = path + (b"?" + urlencode(query).encode() if query else b"")
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"POST " + target + b" HTTP/1.1\r\n" + lines


def _plan(route: Route, upstreams: Mapping[str, Upstream]) -> RoutePlan:
    def bind(side: Side, label: SideLabel) -> Destination:
        return Destination(label, upstreams[side.provider], side.model, side.fingerprint)

    return RoutePlan(
        name=route.name,
        stable=bind(route.stable, "stable"),
        canary=bind(route.canary, "canary") if route.canary is not None else None,
        canary_percent=route.canary_percent,
        shadow_percent=route.shadow_percent,
        fallback=tuple(bind(side, "fallback") for side in route.fallback),
        objectives=_objectives(route),
        breaker=route.breaker,
        session_seed=session_seed(route.salt, route.canary.fingerprint if route.canary else ""),
    )


def _objectives(route: Route) -> dict[str, float]:
    """Returns per signal the strictest limit, in seconds: the control plane counts one `slow` per signal."""
    strictest: dict[str, float] = {}
    for objective in route.objectives:
        seconds = objective.max_milliseconds / 1000
        strictest[objective.signal] = min(seconds, strictest.get(objective.signal, seconds))
    return strictest


def _index(
    routes: tuple[Route, ...], plans: tuple[RoutePlan, ...]
) -> dict[tuple[str | None, str | None], RoutePlan]:
    """Indexes routes by what they match; the first in the document wins a tie, and the control plane reports it as Conflicted."""
    index: dict[tuple[str | None, str | None], RoutePlan] = {}
    for route, plan in zip(routes, plans, strict=True):
        for model in route.match.models or (None,):
            for task in route.match.tasks or (None,):
                index.setdefault((model, task), plan)
    return index


def _listed(route: Route, plan: RoutePlan) -> Iterator[str]:
    """Goes through the model names that a caller may ask this route for, as far as the document knows them."""
    sides = (plan.stable, *((plan.canary,) if plan.canary is not None else ()), *plan.fallback)
    if all(side.upstream.provider.closed for side in sides):
        return
    if route.match.models:
        yield from route.match.models
    elif plan.stable.model is not None:
        yield plan.stable.model
    else:
        yield from plan.stable.upstream.models
