"""The API server accepts the examples and refuses invalid objects with a message that a person can act on."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.session.clients import Client
from tests.contract.api_requests import requests_of

ROOT = Path(__file__).resolve().parents[2]
API_VERSION = "relay-operator.dev/v1alpha1"
SIDE = {"provider": "legacy"}
URL = {"url": "https://api.example.com/v1"}
SERVICE = {"namespace": "a", "name": "b", "port": 80}
TOTAL = {"signal": "Total", "maxMilliseconds": 1000}


def attempt(kubectl: Client, kind: str, name: str, spec: dict[str, Any]) -> str:
    """Returns the API server's error for the object; empty if it would accept it."""
    metadata = {"name": name} | ({"namespace": "default"} if kind == "RelayRoute" else {})
    manifest = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    return requests_of(kubectl).create(manifest, dry=True).refusal


HTTPS = {"endpoint": URL}
PROXY = {"url": "http://10.1.2.3:3128"}
PEM = "-----BEGIN CERTIFICATE-----"
SHADOW = {"percent": 10, "minDuration": "24h", "minRequests": 500}
ACCEPTED = [
    *(
        (
            "RelayRoute",
            "r",
            {"stable": SIDE, "canary": SIDE | {"model": "gpt-5", "percent": 0, "shadow": shadow}},
        )
        for shadow in (
            {"percent": 0},
            {"percent": 10},
            {"percent": 10, "minDuration": "24h"},
            {"percent": 10, "minRequests": 1},
            SHADOW | {"maxDifferencePercent": 0.5},
        )
    ),
    ("Provider", "p", HTTPS | {"firstByteTimeout": "1s", "idleTimeout": "1h", "keepAlive": "0s"}),
    ("Provider", "p", HTTPS | {"firstByteTimeout": "10m30s", "keepAlive": "10m"}),
    ("Provider", "p", HTTPS | {"afterDisconnect": {"policy": "Cancel"}}),
    ("Provider", "p", HTTPS | {"afterDisconnect": {"policy": "Drain"}}),
    *(
        ("Provider", "p", HTTPS | {"afterDisconnect": {"policy": "Drain", **bounds}})
        for bounds in (
            {"maxSeconds": 1, "maxTokens": 1},
            {"maxSeconds": 600},
            {"maxTokens": 1_000_000},
        )
    ),
    ("Provider", "p", HTTPS | {"proxy": PROXY}),
    ("Provider", "p", HTTPS | {"proxy": {"url": "http://[fd00::3]:3128/"}}),
    (
        "Provider",
        "p",
        HTTPS
        | {
            "proxy": {
                "url": "http://proxy.example.com:8080",
                "egressCIDRs": ["10.1.2.0/28"],
                "auth": {"secretName": "proxy", "usernameKey": "user"},
            },
            "clientCertificate": {"secretName": "cert"},
            "caBundle": PEM,
        },
    ),
    ("Tenant", "a", {}),
    ("Tenant", "a", {"namespacePolicy": "Adopt", "deletionPolicy": "Retain"}),
    (
        "Tenant",
        "a",
        {
            "network": {
                "service": {
                    "type": "LoadBalancer",
                    "loadBalancerClass": "example.com/internal",
                    "annotations": {f"example.com/name-{n}": "x" * 1024 for n in range(16)},
                    "loadBalancerSourceRanges": ["203.0.113.0/24", "2001:db8::/32"],
                }
            }
        },
    ),
    ("Tenant", "a", {"tier": "premium", "queue": {"guaranteedSeats": 65}}),
    ("Tenant", "a", {"tier": "premium", "relay": {"resources": {"limits": {"memory": "64Mi"}}}}),
    ("Tenant", "a", {"relay": {"autoscaling": {"maxReplicas": 50}}}),
    (
        "Tenant",
        "a",
        {"relay": {"autoscaling": {"minReplicas": 2, "maxReplicas": 2, "cpuPercent": 1}}},
    ),
    ("Tenant", "a", {"keyRotation": {}}),
    ("Tenant", "a", {"keyRotation": {"overlap": "1m"}}),
    ("Tenant", "a", {"keyRotation": {"every": "1h", "overlap": "59m59s"}}),
    ("Tenant", "a", {"keyRotation": {"every": "8784h", "overlap": "2160h"}}),
    ("Tenant", "a", {"apiKeys": [{"name": "x", "source": "Digest"}]}),
    ("Tenant", "a" * 40, {"queue": {"concurrency": 1, "guaranteedSeats": 1}}),
    ("Tenant", "a", {"network": {"allowFrom": [{"namespace": "web"}, {"cidr": "2001:db8::/32"}]}}),
    ("Provider", "p", {"endpoint": URL, "models": [{"name": "gpt-4.1"}]}),
    ("Provider", "p", {"endpoint": URL, "cachedTokenWeight": 0}),
    (
        "Provider",
        "p",
        {
            "endpoint": URL,
            "region": "eu-west",
            "allowedTenants": {
                "matchLabels": {"residency": "eu", "example.com/team": ""},
                "matchExpressions": [
                    {"key": "tier", "operator": "NotIn", "values": ["trial"]},
                    {"key": "suspended", "operator": "DoesNotExist"},
                ],
            },
            "headers": {"Authorization": "x", "X-Team": "a"},
            "egressCIDRs": ["10.0.0.0/8", "fd00::/8"],
        },
    ),
    (
        "Provider",
        "p",
        {
            "endpoint": URL,
            "models": [{"name": "m", "capabilities": {"contextWindow": 128000, "tools": False}}],
        },
    ),
    ("Provider", "p", {"endpoint": URL, "cachedTokenWeight": 0.1}),
    ("Provider", "p", {"endpoint": URL, "streamUsage": False, "coolDown": "0s"}),
    ("Provider", "p", {"endpoint": URL, "coolDown": "1h"}),
    ("Provider", "p", {"endpoint": URL, "retryOn": {"statuses": [500], "failures": ["Timeout"]}}),
    ("Provider", "p", {"endpoint": URL, "retryOn": {"failures": ["Disconnect", "InvalidAnswer"]}}),
    (
        "Provider",
        "p",
        {
            "endpoint": URL,
            "models": [
                {"name": "m", "dropParameters": ["stream_options", "tools.function.strict"]}
            ],
        },
    ),
    ("Provider", "p", {"endpoint": {"serviceRef": {"namespace": "a", "name": "b", "port": 80}}}),
    ("RelayRoute", "r", {"stable": SIDE, "canary": SIDE | {"model": "gpt-5", "percent": 100}}),
    ("Provider", "p", {"endpoint": {"url": "http://10.0.0.1:65535"}}),
    ("Provider", "p", {"endpoint": {"url": "https://[2001:db8::1]:8443/v1/"}}),
    ("Provider", "p", {"endpoint": {"url": "https://A_b.example.com./openai/v1"}}),
    ("Tenant", "a", {"relay": {"resources": {"limits": {"memory": "96Mi"}}}}),
    ("Tenant", "a", {"relay": {"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}}),
    ("Tenant", "a", {"relay": {"resources": {"requests": {"cpu": "1500m"}}}}),
    (
        "Tenant",
        "a",
        {"relay": {"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": 67108864}}}},
    ),
    ("RelayRoute", "r", {"stable": SIDE, "analysis": {"tokens": {"maxDriftPercent": 5}}}),
    (
        "RelayRoute",
        "r",
        {
            "stable": SIDE,
            "analysis": {
                "errorRate": {"maxPercent": 1},
                "cost": {"maxIncreasePercent": 0, "whenUnknown": "Continue"},
            },
        },
    ),
    (
        "RelayRoute",
        "r",
        {
            "stable": SIDE,
            "analysis": {"errorRate": {"maxPercent": 1}, "onStableBreach": "Evacuate"},
        },
    ),
    (
        "RelayRoute",
        "r",
        {
            "stable": SIDE,
            "analysis": {"tokens": {"maxDriftPercent": 5}, "onStableBreach": "Continue"},
        },
    ),
    (
        "RelayRoute",
        "r",
        {
            "stable": SIDE,
            "analysis": {
                "errorRate": {"maxPercent": 100, "maxIncreasePoints": 0.1},
                "latency": [TOTAL | {"maxIncreasePoints": 0.5}],
            },
        },
    ),
    ("RelayRoute", "r", {"stable": SIDE, "analysis": {"errorRate": {"maxPercent": 0}}}),
    ("RelayRoute", "r", {"stable": SIDE, "analysis": {"latency": [TOTAL]}}),
    (
        "RelayRoute",
        "r",
        {"stable": SIDE, "analysis": {"errorRate": {"maxPercent": 100}, "latency": [TOTAL]}},
    ),
]


@pytest.mark.parametrize(("kind", "name", "spec"), ACCEPTED)
def test_a_valid_object_is_accepted(
    kubectl: Client, crds: None, kind: str, name: str, spec: dict[str, Any]
) -> None:
    assert attempt(kubectl, kind, name, spec) == ""


REFUSED = [
    *(
        (
            "RelayRoute",
            "r",
            {"stable": SIDE, "canary": SIDE | {"percent": 10, "shadow": shadow}},
            says,
        )
        for shadow, says in (
            (SHADOW | {"percent": 0}, "the canary would wait for ever"),
            ({"percent": 10, "maxDifferencePercent": 5}, "say with minDuration or minRequests"),
            (SHADOW | {"maxDifferencePercent": 101}, "maxDifferencePercent"),
            (SHADOW | {"minRequests": 0}, "minRequests"),
            (SHADOW | {"minDuration": "1d"}, "minDuration"),
        )
    ),
    *(
        ("Provider", "p", HTTPS | {field: wrong}, field)
        for field in ("firstByteTimeout", "idleTimeout")
        for wrong in ("999ms", "61m", "0s", "", "5", "-5s", "99999999999999h")
    ),
    ("Provider", "p", HTTPS | {"keepAlive": "11m"}, "longer than 10m"),
    ("Provider", "p", HTTPS | {"afterDisconnect": {"maxSeconds": 1}}, "policy"),
    ("Provider", "p", HTTPS | {"afterDisconnect": {"policy": "drain"}}, "Unsupported value"),
    *(
        (
            "Provider",
            "p",
            HTTPS | {"afterDisconnect": {"policy": "Cancel", bound: 1}},
            "bound Drain; set policy: Drain",
        )
        for bound in ("maxSeconds", "maxTokens")
    ),
    *(
        ("Provider", "p", HTTPS | {"afterDisconnect": {"policy": "Drain", bound: wrong}}, bound)
        for bound, wrong in (
            ("maxSeconds", 0),
            ("maxSeconds", 601),
            ("maxSeconds", "30s"),
            ("maxTokens", 0),
            ("maxTokens", 1_000_001),
        )
    ),
    ("Provider", "p", HTTPS | {"keepAlive": 5}, "keepAlive"),
    ("Provider", "p", HTTPS | {"proxy": {}}, "url"),
    *(
        ("Provider", "p", HTTPS | {"proxy": {"url": url}}, "write http://, a host and a port")
        for url in (
            "https://10.1.2.3:3128",
            "http://10.1.2.3",
            "http://10.1.2.3:0",
            "http://10.1.2.3:65536",
            "http://user:word@10.1.2.3:3128",
            "http://10.1.2.3:3128/path",
            "socks5://10.1.2.3:3128",
            "10.1.2.3:3128",
        )
    ),
    (
        "Provider",
        "p",
        HTTPS | {"proxy": {"url": "http://proxy.example.com:3128"}},
        "network policies know no host names",
    ),
    (
        "Provider",
        "p",
        HTTPS | {"proxy": PROXY, "egressCIDRs": ["203.0.113.0/24"]},
        "remove egressCIDRs",
    ),
    *(
        ("Provider", "p", {"endpoint": endpoint, field: value}, "https")
        for endpoint in ({"url": "http://api.example.com"}, {"serviceRef": SERVICE})
        for field, value in (
            ("proxy", PROXY),
            ("clientCertificate", {"secretName": "cert"}),
            ("caBundle", PEM),
        )
    ),
    ("Provider", "p", HTTPS | {"clientCertificate": {}}, "secretName"),
    ("Provider", "p", HTTPS | {"caBundle": "a certificate"}, "not PEM"),
    ("Provider", "p", HTTPS | {"caBundle": PEM + "x" * 8192}, "caBundle"),
    ("Tenant", "a" * 41, {}, "at most 40 characters"),
    ("Tenant", "a", {"namespacePolicy": "Take"}, "Unsupported value"),
    ("Tenant", "a", {"deletionPolicy": "Keep"}, "Unsupported value"),
    ("Tenant", "a", {"network": {"service": {"type": "NodePort"}}}, "Unsupported value"),
    (
        "Tenant",
        "a",
        {"network": {"service": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}},
        "set type to LoadBalancer",
    ),
    (
        "Tenant",
        "a",
        {
            "network": {
                "service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0"]}
            }
        },
        "not a CIDR",
    ),
    (
        "Tenant",
        "a",
        {"network": {"service": {"annotations": {"relay-operator.dev/tenant": "b"}}}},
        "are not for this",
    ),
    (
        "Tenant",
        "a",
        {"network": {"service": {"annotations": {"metallb.io/allow-shared-ip": "b"}}}},
        "shared by several tenants",
    ),
    ("Tenant", "a.b", {}, "DNS label"),
    ("Tenant", "default", {}, "reserved"),
    (
        "Tenant",
        "a",
        {"queue": {"concurrency": 4, "guaranteedSeats": 5}},
        "guaranteedSeats cannot exceed",
    ),
    ("Tenant", "a", {"queue": {"guaranteedSeats": 65}}, "guaranteedSeats cannot exceed"),
    ("Tenant", "a", {"tier": "Premium"}, "spec.tier"),
    ("Tenant", "a", {"tier": ""}, "spec.tier"),
    ("Tenant", "a", {"tier": "a" * 41}, "spec.tier"),
    (
        "Tenant",
        "a",
        {"tier": "premium", "queue": {"concurrency": 4, "guaranteedSeats": 5}},
        "guaranteedSeats cannot exceed",
    ),
    (
        "Tenant",
        "a",
        {"relay": {"replicas": 2, "autoscaling": {"maxReplicas": 3}}},
        "set either replicas or autoscaling",
    ),
    (
        "Tenant",
        "a",
        {"relay": {"autoscaling": {"minReplicas": 4, "maxReplicas": 3}}},
        "minReplicas cannot exceed maxReplicas",
    ),
    ("Tenant", "a", {"relay": {"autoscaling": {"minReplicas": 4}}}, "maxReplicas"),
    ("Tenant", "a", {"relay": {"autoscaling": {"maxReplicas": 51}}}, "maxReplicas"),
    ("Tenant", "a", {"queue": {"maxWait": "soon"}}, "maxWait"),
    ("Tenant", "a", {"relay": {"replicas": 0}}, "replicas"),
    *(
        ("Tenant", "a", {"relay": {field: value}}, "unknown field")
        for field, value in (
            ("image", "evil"),
            ("env", [{"name": "LD_PRELOAD", "value": "/evil"}]),
            ("envFrom", [{"secretRef": {"name": "relay-upstream"}}]),
            ("args", ["--evil"]),
            ("volumes", [{"name": "root", "hostPath": {"path": "/"}}]),
            ("serviceAccountName", "default"),
            ("hostNetwork", True),
            ("podTemplate", {}),
            ("imagePullSecrets", [{"name": "x"}]),
        )
    ),
    # no Secret is named in another namespace
    ("Tenant", "a", {"network": {"tls": {"secretName": "x", "namespace": "b"}}}, "unknown field"),
    ("Tenant", "a", {"network": {"tls": {"secretName": "b/x"}}}, "secretName"),
    *(
        ("Provider", "p", HTTPS | {field: {"secretName": "x", "namespace": "b"}}, "unknown field")
        for field in ("auth", "clientCertificate")
    ),
    ("Provider", "p", HTTPS | {"auth": {"secretName": "b/x"}}, "secretName"),
    ("Tenant", "a", {"relay": {"resources": {"requests": {"gpu": 1}}}}, "only cpu and memory"),
    (
        "Tenant",
        "a",
        {"network": {"allowFrom": [{"namespace": "a", "cidr": "10.0.0.0/8"}]}},
        "either namespace or cidr",
    ),
    ("Tenant", "a", {"network": {"allowFrom": [{}]}}, "either namespace or cidr"),
    ("Tenant", "a", {"network": {"allowFrom": [{"cidr": "10.0.0.0"}]}}, "not a CIDR"),
    ("Tenant", "a", {"apiKeys": [{"name": "x"}, {"name": "x"}]}, "Duplicate value"),
    ("Tenant", "a", {"apiKeys": [{"name": "x", "tokensPerMinute": 0}]}, "tokensPerMinute"),
    ("Tenant", "a", {"apiKeys": [{"name": "x", "source": "Secret"}]}, "Unsupported value"),
    ("Tenant", "a", {"apiKeys": [{"name": "x.previous"}]}, "should match"),
    ("Tenant", "a", {"keyRotation": {"every": "24h"}}, "overlap (24h if not set) must be shorter"),
    *(
        ("Tenant", "a", {"keyRotation": rotation}, why)
        for rotation, why in (
            ({"every": "30m", "overlap": "1m"}, "every must be between 1h and 8784h"),
            ({"every": "9999h"}, "every must be between 1h and 8784h"),
            ({"every": "999999h999999h"}, "every must be between 1h and 8784h"),
            ({"every": "48h", "overlap": "48h"}, "must be shorter than every"),
            ({"overlap": "59s"}, "overlap must be between 1m and 2160h"),
            ({"overlap": "2161h"}, "overlap must be between 1m and 2160h"),
            ({"overlap": "-1h"}, "should match"),
            ({"every": "1d"}, "should match"),
        )
    ),
    ("Provider", "p", {"endpoint": {}}, "either url or serviceRef"),
    ("Provider", "p", {"endpoint": URL, "cachedTokenWeight": 1.1}, "cachedTokenWeight"),
    ("Provider", "p", {"endpoint": URL, "cachedTokenWeight": -0.1}, "cachedTokenWeight"),
    ("Provider", "p", {"endpoint": URL, "region": "EU West"}, "region"),
    ("Provider", "p", {"endpoint": URL, "allowedTenants": {}}, "selects by nothing"),
    (
        "Provider",
        "p",
        {"endpoint": URL, "allowedTenants": {"matchLabels": {}}},
        "selects by nothing",
    ),
    *(
        ("Provider", "p", {"endpoint": URL, "allowedTenants": {"matchExpressions": [wrong]}}, says)
        for wrong, says in (
            ({"key": "a", "operator": "In"}, "values go with In and NotIn"),
            ({"key": "a", "operator": "Exists", "values": ["b"]}, "values go with In and NotIn"),
            ({"key": "a", "operator": "Near"}, "Unsupported value"),
            ({"operator": "Exists"}, "key"),
        )
    ),
    *(
        ("Provider", "p", {"endpoint": URL, "headers": {name: "x"}}, "relays write hop-by-hop")
        for name in ("Connection", "TRANSFER-ENCODING", "te", "Content-Length", "X-Request-ID")
    ),
    *(
        (
            "Provider",
            "p",
            {"endpoint": URL, "auth": {"secretName": "s", "header": name}},
            "relays write this header",
        )
        for name in ("Upgrade", "Host")
    ),
    (
        "Provider",
        "p",
        {"endpoint": URL, "auth": {"secretName": "s"}, "headers": {"authorization": "x"}},
        "headers repeats the header",
    ),
    *(
        ("Provider", "p", {"endpoint": URL, "egressCIDRs": [cidr]}, "loopback and link-local")
        for cidr in ("127.0.0.0/16", "169.254.169.254/32", "::1/128", "fe80::/64")
    ),
    (
        "Provider",
        "p",
        {"endpoint": URL, "models": [{"name": "m", "capabilities": {}}]},
        "capabilities",
    ),
    (
        "Provider",
        "p",
        {"endpoint": URL, "models": [{"name": "m", "capabilities": {"contextWindow": 0}}]},
        "contextWindow",
    ),
    ("Provider", "p", {"endpoint": URL, "coolDown": "61m"}, "longer than 1h"),
    ("Provider", "p", {"endpoint": URL, "coolDown": "-1s"}, "coolDown"),
    ("Provider", "p", {"endpoint": URL, "retryOn": {}}, "retryOn says nothing"),
    ("Provider", "p", {"endpoint": URL, "retryOn": {"statuses": [302]}}, "statuses"),
    ("Provider", "p", {"endpoint": URL, "retryOn": {"statuses": [500, 500]}}, "Duplicate value"),
    ("Provider", "p", {"endpoint": URL, "retryOn": {"failures": ["Reset"]}}, "Unsupported value"),
    *(
        (
            "Provider",
            "p",
            {"endpoint": URL, "models": [{"name": "m", "dropParameters": [path]}]},
            what,
        )
        for path, what in (
            ("model", "cannot be dropped"),
            ("stream", "cannot be dropped"),
            ("previous_response_id", "cannot be dropped"),
            ("a..b", "dropParameters"),
            ("a b", "dropParameters"),
            ("", "dropParameters"),
            ("a.b.c.d.e.f.g", "dropParameters"),
            ("a" * 65, "dropParameters"),
        )
    ),
    ("Provider", "p", {"endpoint": {"url": "ftp://example.com"}}, "an http or https URL"),
    ("Provider", "p", {"endpoint": {"url": "https://user:pw@example.com"}}, "an http or https URL"),
    (
        "Provider",
        "p",
        {"endpoint": {"url": "https://example.com/v1?key=1"}},
        "an http or https URL",
    ),
    ("Provider", "p", {"endpoint": URL, "headers": {"x\r\ny": "1"}}, "a header name"),
    ("Provider", "p", {"endpoint": URL, "headers": {"x": "1\r\n"}}, "headers.x"),
    (
        "RelayRoute",
        "r",
        {"stable": SIDE, "canary": SIDE | {"percent": 10}},
        "same provider and model",
    ),
    ("RelayRoute", "r", {"stable": SIDE, "canary": {"provider": "b", "percent": 101}}, "percent"),
    ("RelayRoute", "r", {"stable": SIDE, "canary": {"provider": "b"}}, "percent"),
    *(
        ("Provider", "p", {"endpoint": {"url": url}}, "an http or https URL")
        for url in (
            "HTTPS://api.example.com/v1",
            "Http://api.example.com/v1",
            "http:///v1",
            "https://api..example.com/v1",
            "https://-api.example.com/v1",
            "https://api-.example.com/v1",
            f"https://{'a' * 64}.example.com/v1",
            "https://:443/v1",
            "http://example.com:99999/v1",
            "http://example.com:0",
            "http://example.com:",
            "http://example.com:" + "9" * 30,
            "https://exa mple.com/v1",
            "https://example.com/v\u00e9",
            "https://[2001:db8::1/v1",
        )
    ),
    *(
        ("Provider", "p", {"endpoint": {"serviceRef": SERVICE | wrong}}, field)
        for field, wrong in (
            ("name", {"name": "a/b"}),
            ("namespace", {"namespace": "A"}),
            ("path", {"path": "/v\u00e9"}),
            ("port", {"port": 99999}),
        )
    ),
    *(
        ("Tenant", "a", {"relay": {"resources": resources}}, says)
        for resources, says in (
            ({"limits": {"memory": "64Mi"}}, "limits.memory"),
            ({"limits": {"memory": 1000}}, "limits.memory"),
            ({"limits": {"cpu": "50m"}}, "limits.cpu"),
            ({"requests": {"memory": "1Gi"}}, "limits.memory"),
            ({"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}, "limits.cpu"),
            ({"limits": {"memory": "-1Gi"}}, "memory"),
            ({"requests": {"cpu": -1}}, "cpu"),
        )
    ),
    ("RelayRoute", "r", {}, "stable"),
    ("RelayRoute", "r", {"stable": SIDE, "analysis": {}}, "no limit that could be broken"),
    (
        "RelayRoute",
        "r",
        {"stable": SIDE, "analysis": {"window": "5s", "latency": []}},
        "no limit that could be broken",
    ),
    (
        "RelayRoute",
        "r",
        {"stable": SIDE, "analysis": {"errorRate": {"maxPercent": 100}}},
        "no limit that could be broken",
    ),
    (
        "RelayRoute",
        "r",
        {"stable": SIDE, "analysis": {"errorRate": {"maxPercent": 100, "maxIncreasePoints": 100}}},
        "no limit that could be broken",
    ),
    (
        "RelayRoute",
        "r",
        {"stable": SIDE, "analysis": {"errorRate": {"maxPercent": 1, "maxIncreasePoints": -1}}},
        "maxIncreasePoints",
    ),
    (
        "RelayRoute",
        "r",
        {"stable": SIDE, "analysis": {"tokens": {"maxDriftPercent": 0}}},
        "maxDriftPercent",
    ),
    (
        "RelayRoute",
        "r",
        {
            "stable": SIDE,
            "analysis": {"tokens": {"maxDriftPercent": 5}, "onStableBreach": "Evacuate"},
        },
        "needs a limit that stable can break",
    ),
    (
        "RelayRoute",
        "r",
        {
            "stable": SIDE,
            "analysis": {"errorRate": {"maxPercent": 1}, "onStableBreach": "Rollback"},
        },
        "onStableBreach",
    ),
    ("RelayRoute", "r", {"stable": SIDE, "tenant": "other"}, "unknown field"),
]


@pytest.mark.parametrize(("kind", "name", "spec", "says"), REFUSED)
def test_an_invalid_object_is_refused_with_its_reason(
    kubectl: Client, crds: None, kind: str, name: str, spec: dict[str, Any], says: str
) -> None:
    assert says in attempt(kubectl, kind, name, spec)


def test_a_providers_endpoint_and_upstream_names_cannot_change(kubectl: Client, crds: None) -> None:
    def provider(url: str, upstream: str) -> str:
        spec = {"endpoint": {"url": url}, "models": [{"name": "m", "upstreamName": upstream}]}
        manifest = {
            "apiVersion": API_VERSION,
            "kind": "Provider",
            "metadata": {"name": "fixed"},
            "spec": spec,
        }
        return kubectl.attempt("apply", "-f", "-", stdin=yaml.safe_dump(manifest)).stderr

    try:
        assert provider("https://a.example.com", "m-1") == ""
        assert "endpoint is immutable" in provider("https://b.example.com", "m-1")
        assert "upstreamName is immutable" in provider("https://a.example.com", "m-2")
    finally:
        kubectl("delete", "provider", "fixed")


def test_a_new_object_does_not_count_as_observed_before_the_operator_saw_it(
    kubectl: Client, crds: None
) -> None:
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "Provider",
        "metadata": {"name": "unseen"},
        "spec": {"endpoint": URL},
    }
    done = kubectl.attempt(
        "apply",
        "--dry-run=server",
        "-o",
        "jsonpath={.status.observedGeneration}",
        "-f",
        "-",
        stdin=yaml.safe_dump(manifest),
    )
    assert done.stdout == "-1"


OF_OTHER_PRODUCTS = {
    *("argoproj.io", "cert-manager.io"),
    *("helm.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io", "source.toolkit.fluxcd.io"),
}
"""Groups whose definitions this API server has not; the objects of ours beside them are tried."""


@pytest.mark.parametrize(
    "example",
    sorted((ROOT / "examples").rglob("*.yaml")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_every_example_is_accepted(kubectl: Client, crds: None, example: Path) -> None:
    for manifest in yaml.safe_load_all(example.read_text()):
        # the tenant's namespace does not exist in this tier
        manifest["metadata"].pop("namespace", None)
        if manifest["apiVersion"].partition("/")[0] in OF_OTHER_PRODUCTS:
            continue
        assert requests_of(kubectl).create(manifest, dry=True).refusal == ""
