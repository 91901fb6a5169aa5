"""Network policies: who may reach a relay and where a relay may go. Everything else is denied, both ways."""

import ipaddress
from collections.abc import Iterable

from relay_contract import endpoints
from relay_operator import names
from relay_operator.api.tenant import Peer, Tenant
from relay_operator.manifests.addresses import forbidden_addresses
from relay_operator.manifests.environment import Manifest, Platform, Upstream
from relay_operator.manifests.ledger import delivery
from relay_operator.manifests.namespace import metadata

NOT_PUBLIC_V4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
]  # fmt: skip
"""RFC 1918, RFC 6598, RFC 6890, link-local with the metadata address (RFC 3927), loopback, multicast, reserved."""
NOT_PUBLIC_V6 = [
    "::/128", "::1/128", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fc00::/7", "fe80::/10",
    "fec0::/10", "ff00::/8",
]  # fmt: skip
"""RFC 4193, RFC 4291, site-local (RFC 3879), and what leads to an IPv4 address in it: RFC 6052, RFC 8215, Teredo (RFC 4380), 6to4 (RFC 3056).

IPv4-mapped addresses (::ffff:0:0/96) are absent on purpose: they never appear on the network, where such a connection is one
of IPv4, and the API server refuses them in a policy.
"""


def default_deny(tenant: Tenant) -> Manifest:
    """Denies every connection to and from every pod of the tenant's namespace."""
    return _policy(
        tenant, names.DEFAULT_DENY, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    )


def relay_traffic(
    tenant: Tenant, platform: Platform, upstreams: Iterable[Upstream], *, note: str = ""
) -> Manifest:
    """Lets callers in on the traffic port, Prometheus and the operator on the admin port; and the relay out to DNS,
    to its upstreams, each at its one port, and to the ledger. note is kept as an annotation.
    """
    ingress = [
        {
            "from": [
                _pods(platform.operator_namespace, platform.operator_pods),
                _pods(platform.prometheus_namespace, platform.prometheus_pods),
            ],
            "ports": [_tcp(endpoints.ADMIN_PORT)],
        }
    ]
    callers = [_caller(peer) for peer in tenant.spec.network.callers]
    if callers:
        ingress.append({"from": callers, "ports": [_tcp(endpoints.TRAFFIC_PORT)]})
    policy = _policy(
        tenant,
        names.RELAY,
        {
            "podSelector": {"matchLabels": names.relay_selector(tenant.metadata.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": [
                _dns(platform),
                *filter(None, (_upstream(upstream, platform) for upstream in upstreams)),
                *_ledger(platform),
            ],
        },
    )
    if note:
        policy["metadata"]["annotations"] = {names.ANNOTATION_UPSTREAMS: note}
    return policy


def _policy(tenant: Tenant, name: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(tenant, name),
        "spec": spec,
    }


def _caller(peer: Peer) -> Manifest:
    return _block(peer.cidr) if peer.cidr else _namespace(peer.namespace or "")


def _block(cidr: str) -> Manifest:
    return {"ipBlock": {"cidr": canonical(cidr)}}


def canonical(cidr: str) -> str:
    """Returns the block in the one form the API server takes: no host bits, IPv4 not mapped into IPv6.

    The custom resources accept any spelling, as people write 10.1.2.3/24 for 10.1.2.0/24.
    """
    return str(forbidden_addresses.block(cidr))


def _pods(namespace: str, labels: tuple[tuple[str, str], ...]) -> Manifest:
    # a namespace by its name and pods by their labels in one peer: both must hold
    selected = {"podSelector": {"matchLabels": dict(labels)}} if labels else {}
    return _namespace(namespace) | selected


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {names.LABEL_NAMESPACE_NAME: name}}}


def _tcp(port: int | str) -> Manifest:
    return {"protocol": "TCP", "port": port}


def _dns(platform: Platform) -> Manifest:
    """Returns the way to DNS: with servers of the platform's choice to these alone, past the cluster's, which knows every tenant."""
    own = [str(ipaddress.ip_network(server)) for server in platform.dns_nameservers]
    servers = [_block(cidr) for cidr in (*own, *platform.dns_cidrs)]
    return {
        "to": servers if own else [_pods(platform.dns_namespace, platform.dns_pods), *servers],
        "ports": [{"protocol": "UDP", "port": 53}, _tcp(53)],
    }


def _ledger(platform: Platform) -> list[Manifest]:
    if platform.ledger is None:
        return []
    pods = _pods(platform.operator_namespace, platform.ledger.pods)
    return [{"to": [pods], "ports": delivery.ports()}]


def _upstream(upstream: Upstream, platform: Platform) -> Manifest | None:
    """Returns the way to an upstream; None where all of its addresses are forbidden: a rule without any would open all."""
    if upstream.namespace:
        pods = _pods(upstream.namespace, upstream.pod_selector)
        return {"to": [pods], "ports": [_tcp(upstream.port)]}
    blocks = [
        {"ipBlock": {"cidr": cidr} | ({"except": closed} if closed else {})}
        for cidr, closed in open_blocks(upstream, platform.cluster_cidrs)
    ]
    return {"to": blocks, "ports": [_tcp(upstream.port)]} if blocks else None


def open_blocks(
    upstream: Upstream, cluster_cidrs: Iterable[str]
) -> tuple[tuple[str, list[str]], ...]:
    """Returns the address blocks that the way to an upstream outside the cluster opens, each with its parts that stay closed."""
    closed = tuple(cluster_cidrs)
    if upstream.cidrs:
        parts = (forbidden_addresses.open_part(cidr, closed) for cidr in upstream.cidrs)
        return tuple(part for part in parts if part is not None)
    return tuple(
        (cidr, forbidden_addresses.beside(known, closed, version=version))
        for cidr, known, version in (("0.0.0.0/0", NOT_PUBLIC_V4, 4), ("::/0", NOT_PUBLIC_V6, 6))
    )
