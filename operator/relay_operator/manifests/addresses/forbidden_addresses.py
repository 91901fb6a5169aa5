"""Addresses that no Provider and no ToolServer may lead relays to: loopback, link-local, metadata services, and the cluster's own ranges.

A relay's namespace is a customer's. What one of them names is checked when it is looked at; the network policies leave these
addresses out as well, so that a name that resolves to one leads nowhere. No policy keeps a pod from itself: the relay does not
connect to loopback and its own addresses by a name (`relay.http.connecting.inner_addresses`).
"""

import ipaddress
from collections.abc import Iterable, Iterator
from functools import lru_cache

from relay_operator.api.provider import Provider
from relay_operator.api.tool_server import ToolServer

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEVER = {
    "0.0.0.0/8": "this host",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "224.0.0.0/4": "multicast",
    "100.100.100.200/32": "a metadata service",
    "168.63.129.16/32": "a metadata service",
    "192.0.0.192/32": "a metadata service",
    "::/128": "this host",
    "::1/128": "loopback",
    "fe80::/10": "link-local",
    "ff00::/8": "multicast",
    "fd00:ec2::254/128": "a metadata service",
    "fd20:ce::254/128": "a metadata service",
}
"""RFC 1122, RFC 3927, RFC 4291, and where cloud providers answer with the credentials of a node."""
_NETWORKS = {ipaddress.ip_network(text): what for text, what in _NEVER.items()}
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in the last 32 bits."""
_PRIVATE_TOO = tuple(
    map(
        ipaddress.IPv6Network,
        ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "2002::/16", "fec0::/10"),
    )
)
"""IPv6 that counts as global and leads to IPv4 of any kind, or into a site: RFC 4291, RFC 2765, RFC 8215, RFC 7526, RFC 3879."""
_KEPT = 512
"""Answers, which are the same for every tenant of a Provider."""
_API_SERVER = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
_CLUSTER = "an address of this cluster"


def block(text: str) -> Network:
    """Returns an address block as the network sees it: without host bits, IPv4 inside IPv6 as IPv4."""
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv4Network):
        return network
    mapped = network.network_address.ipv4_mapped
    if mapped is not None:
        return ipaddress.ip_network((mapped, network.prefixlen - 96))
    if network.subnet_of(_TRANSLATED):
        inner = ipaddress.IPv4Address(int(network.network_address) & 0xFFFFFFFF)
        return ipaddress.ip_network((inner, network.prefixlen - 96))
    return network


def is_disguised(address: str) -> bool:
    """Tells whether an address counts as global and leads to IPv4 of any kind, or into a site."""
    return any(_is_within(block(address), one) for one in _PRIVATE_TOO)


def obstacle_of(upstream: Provider | ToolServer, cluster_cidrs: Iterable[str]) -> str:
    """Says which address of a Provider or ToolServer relays must not be led to; empty where there is none."""
    own = "name the provider's own address"
    if isinstance(upstream, ToolServer):
        own = "name the server's own address"
    forbidden = _NETWORKS | {block(text): _CLUSTER for text in cluster_cidrs}
    for field, text, network in _named(upstream):
        where = f"{field} names {text}, which is"
        if network is None:
            what = _what_name(text)
        else:
            what = next((why for one, why in forbidden.items() if _is_within(network, one)), "")
        if what:
            return (
                f"{where} {what}: relays of tenants are not led there; {own}, or change the "
                "chart's value network.clusterCIDRs if it is none of this cluster"
                if what == _CLUSTER
                else f"{where} {what}: relays of tenants are not led there; {own}"
            )
    return ""


def obstacle_of_receiver(
    address: str, *, allowed: Iterable[str], cluster_cidrs: Iterable[str]
) -> str:
    """Says why the operator's webhook is not to connect to an address; empty where it may.

    It may to public addresses, and to the blocks that are allowed. One of these opens loopback, link-local or a metadata service only
    if it lies in their block: a broad one does not.
    """
    wanted, named = block(address), [block(text) for text in allowed]
    for network, why in _NETWORKS.items():
        if _is_within(wanted, network):
            opened = (one for one in named if _is_within(one, network))
            return "" if any(_is_within(wanted, one) for one in opened) else why
    if any(_is_within(wanted, one) for one in named):
        return ""
    if any(_is_within(wanted, block(text)) for text in cluster_cidrs):
        return _CLUSTER
    is_inner = not wanted.network_address.is_global
    return "private" if is_inner or any(_is_within(wanted, one) for one in _PRIVATE_TOO) else ""


def open_part(text: str, cluster_cidrs: Iterable[str]) -> tuple[str, list[str]] | None:
    """Returns an address block, and the parts of it that are to stay closed; None where all of it is."""
    found = _open_part(text, tuple(cluster_cidrs))
    return None if found is None else (found[0], [*found[1]])


@lru_cache(_KEPT)
def _open_part(text: str, cluster_cidrs: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
    wanted = block(text)
    closed = [*_NETWORKS, *(block(one) for one in cluster_cidrs)]
    if any(_is_within(wanted, one) for one in closed):
        return None
    return str(wanted), tuple(str(one) for one in closed if _is_within(one, wanted))


def beside(known: list[str], cluster_cidrs: Iterable[str], *, version: int) -> list[str]:
    """Returns blocks that are closed anyway, with those of the forbidden ones of an IP version that are in none of them."""
    return [*_beside(tuple(known), tuple(cluster_cidrs), version)]


@lru_cache(_KEPT)
def _beside(
    known: tuple[str, ...], cluster_cidrs: tuple[str, ...], version: int
) -> tuple[str, ...]:
    networks = [ipaddress.ip_network(one) for one in known]
    more = [
        str(one)
        for one in (*_NETWORKS, *(block(text) for text in cluster_cidrs))
        if one.version == version and not any(_is_within(one, other) for other in networks)
    ]
    return *known, *dict.fromkeys(more)


def _named(upstream: Provider | ToolServer) -> Iterator[tuple[str, str, Network | None]]:
    """Goes through the hosts and blocks that an upstream names, with the network of those that are addresses."""
    if upstream.spec.endpoint.url is not None:
        yield "endpoint.url", upstream.host, _address(upstream.host)
    for cidr in upstream.spec.egress_cidrs:
        yield "egressCIDRs", cidr, block(cidr)
    proxy = upstream.spec.proxy if isinstance(upstream, Provider) else None
    if proxy is not None:
        yield "proxy.url", proxy.host, _address(proxy.host)
        for cidr in proxy.egress_cidrs:
            yield "proxy.egressCIDRs", cidr, block(cidr)


def _address(host: str) -> Network | None:
    try:
        return block(host)
    except ValueError:
        return None


def _what_name(host: str) -> str:
    """Says what a name stands for that no upstream has; empty for all others, whose addresses the network policy checks."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return "loopback"
    if name in _API_SERVER or name.startswith("kubernetes.default.svc."):
        return "the API server of this cluster"
    return ""


def _is_within(one: Network, other: Network) -> bool:
    if isinstance(one, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and one.subnet_of(other)
    return isinstance(other, ipaddress.IPv6Network) and one.subnet_of(other)
