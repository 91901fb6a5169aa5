"""The addresses and the port of a provider or tool server, which a tenant's network policy has to open."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from relay_operator.api.provider import Provider, ServiceRef
from relay_operator.api.tool_server import ToolServer
from relay_operator.manifests.environment import Upstream
from relay_operator.names import Reason

MOST_SELECTOR_CHARACTERS = 1500
"""Of all labels together: the selectors of all Providers that a tenant uses share one annotation."""


_NAMED_PORTS = 8


@dataclass(frozen=True, slots=True)
class Unusable:
    """A Service that no network policy can open the way to; the message says why, and what to do."""

    reason: Reason
    message: str


def of_url(given: Provider | ToolServer) -> Upstream:
    """Returns the upstream of a provider or tool server given by URL: its declared addresses, or any public one, at its port.

    With a proxy it is the proxy's addresses and port: the relay connects to nothing else.
    """
    proxy = given.spec.proxy if isinstance(given, Provider) else None
    if proxy is not None:
        cidrs = proxy.egress_cidrs or (proxy.address,)
        return Upstream(provider=given.metadata.name, port=proxy.port, cidrs=cidrs)
    parts = urlsplit(given.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Upstream(provider=given.metadata.name, port=port, cidrs=given.spec.egress_cidrs)


def of_service(
    ref: ServiceRef, provider: str, service: Mapping[str, Any] | None, *, kind: str = "Provider"
) -> Upstream | Unusable:
    """Returns the upstream of a provider given by Service: its pods, at the port they listen on. kind is who names the Service.

    Network policies know pods, not Services: a Service that leads to something else is no upstream.
    """
    name = f"Service {ref.namespace}/{ref.name}"
    if service is None:
        return Unusable(
            Reason.SERVICE_NOT_FOUND,
            f"there is no {name}; create it, or create a {kind} with another serviceRef",
        )
    spec = service.get("spec", {})
    port = _port(spec, ref.port)
    why = _why_not(spec, port, ref.port, kind)
    if why or port is None:
        return Unusable(Reason.SERVICE_UNUSABLE, f"{name} {why}")
    is_headless = spec.get("clusterIP") == "None"
    return Upstream(
        provider=provider,
        # the name of a headless Service is resolved to its pods, whose port nobody translates
        port=ref.port if is_headless else port.get("targetPort") or ref.port,
        namespace=ref.namespace,
        pod_selector=tuple(sorted(spec["selector"].items())),
    )


def _port(spec: Mapping[str, Any], number: int) -> Mapping[str, Any] | None:
    """Returns the TCP port of a Service that has this number: the same may be one of UDP as well."""
    ports = spec.get("ports") or ()
    return next(
        (one for one in ports if one["port"] == number and one.get("protocol", "TCP") == "TCP"),
        None,
    )


def _why_not(
    spec: Mapping[str, Any], port: Mapping[str, Any] | None, number: int, kind: str
) -> str:
    """Says, after the name of a Service, what keeps it from being an upstream; empty where nothing does."""
    selector = spec.get("selector") or {}
    characters = sum(len(name) + len(value) for name, value in selector.items())
    target = (port or {}).get("targetPort") or number
    by_url = f"create a {kind} with its address in endpoint.url and egressCIDRs instead"
    rows = (
        (
            spec.get("type") == "ExternalName",
            f"is of type ExternalName, so it stands for {spec.get('externalName')} and for no pods; {by_url}",
        ),
        (
            not selector,
            f"has no selector, so that nothing says which pods it leads to; add one, or {by_url}",
        ),
        (
            characters > MOST_SELECTOR_CHARACTERS,
            f"has a selector of {characters} characters, and {MOST_SELECTOR_CHARACTERS} are supported; shorten it",
        ),
        (
            port is None,
            f"has no TCP port {number}, but {_listed(spec)}; create a {kind} with one of its ports, or add the port",
        ),
        (
            spec.get("clusterIP") == "None" and isinstance(target, int) and target != number,
            f"is headless, so that calls arrive at port {number} of its pods, which listen on {target}; "
            f"create a {kind} with a serviceRef to a Service with an address of its own",
        ),
    )
    return next((why for holds, why in rows if holds), "")


def _listed(spec: Mapping[str, Any]) -> str:
    ports = [f"{one.get('protocol', 'TCP')} {one['port']}" for one in spec.get("ports") or ()]
    return ", ".join(ports[:_NAMED_PORTS]) or "none"
