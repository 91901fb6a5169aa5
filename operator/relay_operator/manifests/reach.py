"""Tells which connections a tenant's own network policies allow: what is no sign that they are not enforced."""

import ipaddress
from collections.abc import Iterable

from relay_operator.api.tenant import Tenant
from relay_operator.manifests.addresses.forbidden_addresses import Network, block
from relay_operator.manifests.environment import Upstream
from relay_operator.manifests.policies import open_blocks


def lets_out(
    upstreams: Iterable[Upstream],
    address: str,
    port: int,
    *,
    cluster_cidrs: Iterable[str],
    namespace: str = "",
) -> bool:
    """Tells whether the relay may connect to an address, which belongs to a pod of a namespace where one is given.

    cluster_cidrs are the addresses of the cluster itself, which policies leave out.
    """
    closed = tuple(cluster_cidrs)
    return any(
        _leads_to_pod(upstream, port, namespace)
        if upstream.namespace
        else upstream.port == port and _opens(upstream, address, closed)
        for upstream in upstreams
    )


def is_of_cluster(address: str, cluster_cidrs: Iterable[str]) -> bool:
    """Tells whether an address is one that the platform has named as the cluster's own."""
    return any(_is_in(address, block(one)) for one in cluster_cidrs)


def opens_the_world(upstreams: Iterable[Upstream]) -> bool:
    """Tells whether the relay may connect to any public address, at some port."""
    return any(not upstream.namespace and not upstream.cidrs for upstream in upstreams)


def lets_in(tenant: Tenant, addresses: Iterable[str], *, namespace: str) -> bool:
    """Tells whether allowFrom lets pods of a namespace, or those with these addresses, call the relay."""
    peers = tenant.spec.network.allow_from
    if any(peer.namespace == namespace for peer in peers):
        return True
    blocks = [block(peer.cidr) for peer in peers if peer.cidr]
    return any(_is_in(address, one) for address in addresses for one in blocks)


def _leads_to_pod(upstream: Upstream, port: int, namespace: str) -> bool:
    # a named port can be any number
    return upstream.namespace == namespace and upstream.port in (port, str(upstream.port))


def _opens(upstream: Upstream, address: str, cluster_cidrs: tuple[str, ...]) -> bool:
    return any(
        _is_in(address, block(opened)) and not any(_is_in(address, block(one)) for one in closed)
        for opened, closed in open_blocks(upstream, cluster_cidrs)
    )


def _is_in(address: str, network: Network) -> bool:
    return ipaddress.ip_address(address) in network
