"""Every kind of network policy that the builders can produce, from the custom resources on.

A unit test checks the address blocks, a contract test applies each policy to a real API server.
"""

from dataclasses import replace
from typing import Any

from relay_operator.api.provider import Provider
from relay_operator.api.tenant import Tenant
from relay_operator.manifests import policies, upstreams
from relay_operator.manifests.environment import Platform, Upstream

Manifest = dict[str, Any]

PLATFORM = Platform(
    operator_namespace="relay-system",
    service_account="relay-operator",
    tenant_cluster_role="relay-operator-tenant",
    relay_image="relay-operator:1",
    relay_image_pull_policy="IfNotPresent",
    public_keys="k",
    operator_pods=(("app.kubernetes.io/name", "relay-operator"),),
    prometheus_namespace="monitoring",
    prometheus_pods=(("app.kubernetes.io/name", "prometheus"),),
    dns_namespace="kube-system",
    dns_pods=(("k8s-app", "kube-dns"),),
)

PROVIDERS: dict[str, Manifest] = {
    "url": {"endpoint": {"url": "https://api.example.com/v1"}},
    "url without TLS": {"endpoint": {"url": "http://api.example.com/v1"}},
    "url with a port": {"endpoint": {"url": "https://api.example.com:8443/v1"}},
    "url of an IPv4 address": {"endpoint": {"url": "http://203.0.113.5:8000/v1"}},
    "url of an IPv6 address": {"endpoint": {"url": "http://[2001:db8::5]:8000/v1"}},
    "IPv4 block": {"endpoint": {"url": "https://a.example.com"}, "egressCIDRs": ["10.1.2.0/24"]},
    "IPv6 block": {"endpoint": {"url": "https://a.example.com"}, "egressCIDRs": ["2001:db8::/32"]},
    "proxy at an address": {
        "endpoint": {"url": "https://a.example.com"},
        "proxy": {"url": "http://10.1.2.3:3128"},
    },
    "proxy at an IPv6 address": {
        "endpoint": {"url": "https://a.example.com"},
        "proxy": {"url": "http://[fd00::3]:3128"},
    },
    "proxy of a name": {
        "endpoint": {"url": "https://a.example.com"},
        "proxy": {"url": "http://proxy.test:8080/", "egressCIDRs": ["10.1.2.3/28"]},
    },
    "block with host bits": {
        "endpoint": {"url": "https://a.example.com"},
        "egressCIDRs": ["10.1.2.3/24", "2001:db8::5/32"],
    },
    "block of an unusual spelling": {
        "endpoint": {"url": "https://a.example.com"},
        "egressCIDRs": ["2001:DB8:0:0::/32", "::ffff:10.0.0.0/104", "0.0.0.0/0", "::/0"],
    },
}

SERVICE_PORTS: dict[str, Manifest] = {
    "service": {"port": 80},
    "service with a port of its pods": {"port": 80, "targetPort": 8080},
    "service with a named port": {"port": 80, "targetPort": "api"},
}

CALLERS: dict[str, Manifest] = {
    "no caller": {},
    "callers": {
        "network": {
            "allowFrom": [
                {"namespace": "web"},
                {"cidr": "203.0.113.7/24"},
                {"cidr": "2001:db8::/32"},
                {"cidr": "0.0.0.0/0"},
            ]
        }
    },
}


def a_tenant(spec: Manifest) -> Tenant:
    return Tenant.parse({"metadata": {"name": "finance", "uid": "u-1"}, "spec": spec})


def upstream_of_url(spec: Manifest) -> Upstream:
    return upstreams.of_url(a_provider(spec))


def upstream_of_service(port: Manifest) -> Upstream:
    ref = {"namespace": "providers", "name": "llm", "port": 80}
    provider = a_provider({"endpoint": {"serviceRef": ref}})
    service = {"spec": {"selector": {"app": "llm", "tier": "gpu"}, "ports": [port]}}
    assert provider.spec.endpoint.service_ref is not None
    upstream = upstreams.of_service(provider.spec.endpoint.service_ref, "p", service)
    assert isinstance(upstream, Upstream)
    return upstream


def a_provider(spec: Manifest) -> Provider:
    return Provider.parse({"metadata": {"name": "p", "uid": "u-2"}, "spec": spec})


def every_policy() -> dict[str, Manifest]:
    """Returns one policy for each kind of input, by the input's name."""
    nobody = a_tenant({})
    every = {name: upstream_of_url(spec) for name, spec in PROVIDERS.items()} | {
        name: upstream_of_service(port) for name, port in SERVICE_PORTS.items()
    }
    dns = replace(PLATFORM, dns_cidrs=("198.51.100.2/32", "2001:db8::53/128", "10.96.0.10/16"))
    cases = {"default deny": policies.default_deny(nobody)}
    cases |= {
        name: policies.relay_traffic(nobody, PLATFORM, [upstream])
        for name, upstream in every.items()
    }
    cases |= {
        name: policies.relay_traffic(a_tenant(spec), PLATFORM, []) for name, spec in CALLERS.items()
    }
    any_scraper = replace(PLATFORM, prometheus_pods=())
    cases["a Prometheus of any pod"] = policies.relay_traffic(nobody, any_scraper, [])
    any_dns = replace(PLATFORM, dns_pods=())
    cases["DNS of any pod"] = policies.relay_traffic(nobody, any_dns, [])
    cases["DNS servers by address"] = policies.relay_traffic(nobody, dns, [])
    own_dns = replace(dns, dns_nameservers=("203.0.113.53", "2001:db8:1::53"))
    cases["DNS servers of the platform"] = policies.relay_traffic(nobody, own_dns, [])
    cases["all at once"] = policies.relay_traffic(a_tenant(CALLERS["callers"]), dns, every.values())
    return cases
