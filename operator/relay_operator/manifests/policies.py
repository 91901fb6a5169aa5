"""The wall: what may reach a relay and what a relay may reach. Everything else is denied, both ways."""

from collections.abc import Iterable

from relay_contract import endpoints
from relay_operator import names
from relay_operator.api.tenant import Peer, Tenant
from relay_operator.manifests.environment import Manifest, Platform, Upstream
from relay_operator.manifests.namespace import metadata

# An upstream on the public internet opens its one port to the world minus what is never public
# (RFC 1918, RFC 6598, RFC 3927 link-local with the metadata address, loopback, multicast; RFC 4193, RFC 4291).
_NOT_PUBLIC_V4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
]  # fmt: skip
_NOT_PUBLIC_V6 = [
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
]


def default_deny(tenant: Tenant) -> Manifest:
    return _policy(
        tenant, "default-deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    )


def relay_traffic(tenant: Tenant, platform: Platform, upstreams: Iterable[Upstream]) -> Manifest:
    """The relay's own policy: callers on the traffic port, Prometheus and the operator on the admin port; out to
    DNS and the declared upstreams.
    """
    ingress = [
        {
            "from": [
                _namespace(platform.operator_namespace),
                _namespace(platform.prometheus_namespace),
            ],
            "ports": [_tcp(endpoints.ADMIN_PORT)],
        }
    ]
    callers = [_caller(peer) for peer in tenant.spec.network.allow_from]
    if callers:
        ingress.append({"from": callers, "ports": [_tcp(endpoints.TRAFFIC_PORT)]})
    return _policy(
        tenant,
        names.RELAY,
        {
            "podSelector": {"matchLabels": names.relay_selector(tenant.metadata.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": [_dns(platform), *(_upstream(upstream) for upstream in upstreams)],
        },
    )


def _policy(tenant: Tenant, name: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(tenant, name),
        "spec": spec,
    }


def _caller(peer: Peer) -> Manifest:
    return {"ipBlock": {"cidr": peer.cidr}} if peer.cidr else _namespace(peer.namespace or "")


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {names.LABEL_NAMESPACE_NAME: name}}}


def _tcp(port: int | str) -> Manifest:
    return {"protocol": "TCP", "port": port}


def _dns(platform: Platform) -> Manifest:
    servers = [{"ipBlock": {"cidr": cidr}} for cidr in platform.dns_cidrs]
    return {
        "to": [_namespace(platform.dns_namespace), *servers],
        "ports": [{"protocol": "UDP", "port": 53}, _tcp(53)],
    }


def _upstream(upstream: Upstream) -> Manifest:
    if upstream.namespace:
        pods = {"podSelector": {"matchLabels": dict(upstream.pod_selector)}}
        return {"to": [_namespace(upstream.namespace) | pods], "ports": [_tcp(upstream.port)]}
    if upstream.cidrs:
        blocks = [{"ipBlock": {"cidr": cidr}} for cidr in upstream.cidrs]
        return {"to": blocks, "ports": [_tcp(upstream.port)]}
    world = [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": _NOT_PUBLIC_V4}},
        {"ipBlock": {"cidr": "::/0", "except": _NOT_PUBLIC_V6}},
    ]
    return {"to": world, "ports": [_tcp(upstream.port)]}
