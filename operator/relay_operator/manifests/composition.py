"""Tenant, routes and providers -> the relay document. An unusable route keeps its last good fragment."""

from collections.abc import Collection, Iterable, Mapping

from relay_contract import document
from relay_contract.spending import Spending
from relay_contract.tools.manifest import Manifest
from relay_contract.tools.tool_server import ToolServer
from relay_operator import names
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import Canary, RelayRoute, Side, fingerprint
from relay_operator.api.tenant import Tenant


def tenant_part(
    tenant: Tenant,
    keys: Mapping[str, document.ApiKey],
    *,
    replicas: int,
    renewals: int = 0,
    spending: Spending | None = None,
    tools: Manifest | None = None,
) -> document.TenantDocument:
    """Composes the tenant's part of the document, without routes. keys are taken by name, for their digests alone."""
    spec = tenant.spec
    return document.TenantDocument(
        name=tenant.metadata.name,
        uid=tenant.metadata.uid,
        namespace=names.tenant_namespace(tenant.metadata.name),
        tier=spec.tier,
        suspended=spec.suspend,
        client_tls=spec.network.tls is not None,
        renewals=renewals,
        replicas=max(replicas, 1),
        keys=tuple(
            document.ApiKey(
                name=key.name,
                sha256=keys[key.name].sha256,
                previous_sha256=keys[key.name].previous_sha256,
                next_sha256=keys[key.name].next_sha256,
                priority=key.priority,
                weight=key.weight,
                requests_per_minute=key.requests_per_minute,
                tokens_per_minute=key.tokens_per_minute,
            )
            for key in spec.api_keys
            if key.name in keys
        ),
        queue=document.Queue(
            concurrency=spec.queue.concurrency,
            max_depth=spec.queue.max_depth,
            max_wait_seconds=min(spec.queue.max_wait, 600.0),
            weight=spec.queue.weight,
            guaranteed_seats=spec.queue.guaranteed_seats,
        ),
        limits=document.Limits(
            requests_per_minute=spec.limits.requests_per_minute,
            tokens_per_minute=spec.limits.tokens_per_minute,
            burst_seconds=spec.limits.burst_seconds,
            models=tuple(document.ModelLimit(**limit.model_dump()) for limit in spec.limits.models),
        ),
        spending=spending,
        tools=tools,
    )


def provider_part(provider: Provider, *, share: float) -> document.Provider:
    """Composes a provider for one tenant's relays, with that tenant's share (0 to 1) of its quota.

    Its key is named, never contained.
    """
    spec = provider.spec
    auth = spec.auth
    return document.Provider(
        name=provider.metadata.name,
        url=provider.url,
        auth=document.ProviderAuth(
            header=auth.header if auth else "Authorization",
            scheme=auth.scheme if auth else "Bearer",
            key_file=provider.metadata.name if auth else None,
        ),
        headers=spec.headers,
        ca_bundle=spec.ca_bundle,
        proxy=_proxy(provider),
        client_certificate=_client_certificate(provider),
        first_byte_timeout_seconds=spec.first_byte_timeout,
        idle_timeout_seconds=spec.idle_timeout,
        keep_alive_seconds=spec.keep_alive,
        drain=_drain(provider),
        models=tuple(
            document.ProviderModel(
                name=model.name,
                upstream_name=model.upstream_name or model.name,
                input_price=model.input_price,
                output_price=model.output_price,
                drop_parameters=model.drop_parameters,
                capabilities=document.Capabilities(**model.capabilities.model_dump())
                if model.capabilities
                else None,
            )
            for model in spec.models
        ),
        limits=provider_limits(provider, share=share),
        cached_token_weight=spec.cached_token_weight,
        stream_usage=spec.stream_usage,
        retry_on=document.RetryOn(**spec.retry_on.model_dump()) if spec.retry_on else None,
        cool_down_seconds=spec.cool_down,
    )


def _drain(provider: Provider) -> document.Drain | None:
    after = provider.spec.after_disconnect
    if after is None or after.policy == "Cancel":
        return None
    return document.Drain(max_seconds=after.max_seconds, max_tokens=after.max_tokens)


def provider_limits(provider: Provider, *, share: float) -> document.ProviderLimits:
    """Composes a share (0 to 1) of a provider's quota."""
    limits = provider.spec.limits
    return document.ProviderLimits(
        requests_per_minute=_slice(limits.requests_per_minute, share),
        tokens_per_minute=_slice(limits.tokens_per_minute, share),
    )


def lower_limits(
    first: document.ProviderLimits, second: document.ProviderLimits
) -> document.ProviderLimits:
    """Returns the first limits, each no higher than the second's where there are both."""
    return document.ProviderLimits(
        requests_per_minute=_lower(first.requests_per_minute, second.requests_per_minute),
        tokens_per_minute=_lower(first.tokens_per_minute, second.tokens_per_minute),
    )


def _lower(first: int | None, second: int | None) -> int | None:
    return first if first is None or second is None else min(first, second)


def closed_part(part: document.Provider) -> document.Provider:
    """Composes a provider that a route in force names, for a tenant that may not use it any more: nothing that it was shown
    is left in it.
    """
    return document.Provider(name=part.name, url=part.url, models=part.models, closed=True)


def _proxy(provider: Provider) -> document.Proxy | None:
    proxy = provider.spec.proxy
    if proxy is None:
        return None
    file = names.proxy_credentials_entry(provider.metadata.name) if proxy.auth else None
    return document.Proxy(host=proxy.host, port=proxy.port, credentials_file=file)


def _client_certificate(provider: Provider) -> document.ClientCertificate | None:
    if provider.spec.client_certificate is None:
        return None
    certificate, key = names.client_certificate_entries(provider.metadata.name)
    return document.ClientCertificate(certificate_file=certificate, key_file=key)


def _slice(limit: int | None, share: float) -> int | None:
    # rounded down, so that the slices never add up to more than the quota; with less than 1 nothing would be served
    return None if limit is None else max(int(limit * share), 1)


def route_part(
    route: RelayRoute,
    providers: Mapping[str, Provider],
    *,
    canary_percent: int,
    preflight: str | None = None,
    copies: bool = True,
) -> document.Route:
    """Composes the route's fragment with the weight in force. providers holds every Provider that the route names.

    preflight is the token under which the canary is to be probed, None while it is not; without copies no call is copied to
    it, whatever the spec asks for.
    """
    spec = route.spec
    analysis = spec.analysis
    return document.Route(
        name=route.metadata.name,
        match=document.Match(models=spec.match.models, tasks=spec.match.tasks),
        stable=_side(spec.stable, providers),
        canary=_side(spec.canary, providers) if spec.canary else None,
        canary_percent=canary_percent if spec.canary else 0,
        shadow_percent=_shadow_percent(spec.canary) if copies else 0,
        fallback=tuple(_side(side, providers) for side in spec.fallback),
        objectives=tuple(
            document.LatencyObjective(
                signal=latency.signal, max_milliseconds=latency.max_milliseconds
            )
            for latency in (analysis.latency if analysis else ())
        ),
        salt=route.metadata.uid,
        preflight=preflight if spec.canary else None,
    )


def _shadow_percent(canary: Canary | None) -> int:
    return canary.shadow.percent if canary is not None and canary.shadow is not None else 0


def _side(side: Side, providers: Mapping[str, Provider]) -> document.Side:
    uid = providers[side.provider].metadata.uid
    return document.Side(
        provider=side.provider, model=side.model, fingerprint=fingerprint(side, provider_uid=uid)
    )


def whole_document(
    base: document.TenantDocument,
    routes: Iterable[document.Route],
    providers: Mapping[str, document.Provider],
    *,
    generation: int,
    epoch: int = 0,
    tool_servers: tuple[ToolServer, ...] = (),
    last: Collection[str] = (),
) -> document.Document:
    """Returns the whole document: the tenant's part, its routes by name, exactly the providers they use, and its tool servers.

    The routes named in last come after all others: what an earlier one matches is not theirs.
    """
    ordered = tuple(sorted(routes, key=lambda route: (route.name in last, route.name)))
    used = sorted({side.provider for route in ordered for side in sides(route)})
    return document.Document(
        generation=generation,
        epoch=epoch,
        catalogue=document.Catalogue(
            providers=tuple(providers[name] for name in used if name in providers),
            tool_servers=tool_servers,
        ),
        tenant=base.model_copy(update={"routes": ordered}),
    )


def sides(route: document.Route) -> tuple[document.Side, ...]:
    """Returns every side that a route can send to."""
    return tuple(side for side in (route.stable, route.canary, *route.fallback) if side is not None)
