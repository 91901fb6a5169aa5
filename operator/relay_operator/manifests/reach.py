"""Which connections a tenant's own network policies allow: what is no sign that they are not enforced."""

import ipaddress
from collections.abc import Iterable

from relay_operator.api.tenant import Tenant
from relay_operator.manifests.environment import Upstream
from relay_operator.manifests.policies import NOT_PUBLIC_V4, NOT_PUBLIC_V6

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def lets_out(
    upstreams: Iterable[Upstream], address: str, port: int, *, namespace: str = ""
) -> bool:
    """Tells whether the relay may connect to an address, which belongs to a pod of a namespace where one is given."""
    return any(_leads_to(upstream, address, port, namespace) for upstream in upstreams)


def opens_the_world(upstreams: Iterable[Upstream]) -> bool:
    """Tells whether the relay may connect to any public address, at some port."""
    return any(not upstream.namespace and not upstream.cidrs for upstream in upstreams)


def lets_in(tenant: Tenant, addresses: Iterable[str], *, namespace: str) -> bool:
    """Tells whether allowFrom lets pods of a namespace, or those with these addresses, call the relay."""
    peers = tenant.spec.network.allow_from
    if any(peer.namespace == namespace for peer in peers):
        return True
    blocks = [ipaddress.ip_network(peer.cidr, strict=False) for peer in peers if peer.cidr]
    return any(_is_in(address, block) for address in addresses for block in blocks)


def _leads_to(upstream: Upstream, address: str, port: int, namespace: str) -> bool:
    if upstream.namespace:
        # a named port can be any number
        return upstream.namespace == namespace and upstream.port in (port, str(upstream.port))
    if upstream.port != port:
        return False
    if upstream.cidrs:
        return any(
            _is_in(address, ipaddress.ip_network(one, strict=False)) for one in upstream.cidrs
        )
    excepted = NOT_PUBLIC_V6 if ":" in address else NOT_PUBLIC_V4
    return not any(_is_in(address, ipaddress.ip_network(one)) for one in excepted)


def _is_in(address: str, network: IpNetwork) -> bool:
    found = ipaddress.ip_address(address)
    mapped = (
        network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    )
    if mapped is not None:
        network = ipaddress.ip_network((mapped, network.prefixlen - 96))
    return found in network
