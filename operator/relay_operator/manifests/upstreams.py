"""The addresses and the port of a provider, which a tenant's network policy has to open."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from relay_operator.api.provider import Provider, ServiceRef
from relay_operator.manifests.environment import Upstream

MOST_SELECTOR_CHARACTERS = 1500
"""Of all labels together: the selectors of all Providers that a tenant uses share one annotation."""


def of_url(provider: Provider) -> Upstream:
    """Returns the upstream of a provider given by URL: its declared addresses, or any public one, at its port.

    With a proxy it is the proxy's addresses and port: the relay connects to nothing else.
    """
    proxy = provider.spec.proxy
    if proxy is not None:
        cidrs = proxy.egress_cidrs or (proxy.address,)
        return Upstream(provider=provider.metadata.name, port=proxy.port, cidrs=cidrs)
    parts = urlsplit(provider.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Upstream(provider=provider.metadata.name, port=port, cidrs=provider.spec.egress_cidrs)


def of_service(
    provider: Provider, ref: ServiceRef, service: Mapping[str, Any] | None
) -> Upstream | None:
    """Returns the upstream of a provider given by Service: its pods, at the port they listen on.

    Network policies know pods, not Services. None when the Service is missing, has no such port, or a selector that is
    empty or longer than MOST_SELECTOR_CHARACTERS.
    """
    spec = (service or {}).get("spec", {})
    port = next((port for port in spec.get("ports", []) if port["port"] == ref.port), None)
    selector = spec.get("selector") or {}
    characters = sum(len(name) + len(value) for name, value in selector.items())
    if port is None or not 0 < characters <= MOST_SELECTOR_CHARACTERS:
        return None
    return Upstream(
        provider=provider.metadata.name,
        port=port.get("targetPort", ref.port),
        namespace=ref.namespace,
        pod_selector=tuple(sorted(selector.items())),
    )
