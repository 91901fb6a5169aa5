"""What a tenant's objects say: isolation, least privilege, and nothing a document change would restart."""

from dataclasses import replace
from typing import Any

import pytest

from relay_operator.api.tenant import Tenant
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import credentials, namespace, policies, tenant, workload
from relay_operator.manifests.environment import Platform, Upstream

PLATFORM = Platform(
    operator_namespace="relay-system",
    service_account="relay-operator",
    tenant_cluster_role="relay-operator-tenant",
    relay_image="relay-operator:1",
    relay_image_pull_policy="IfNotPresent",
    public_keys="k",
    prometheus_namespace="monitoring",
    dns_namespace="kube-system",
    dns_pods=(("k8s-app", "kube-dns"),),
    dns_cidrs=("198.51.100.2/32",),
)


def a_tenant(**spec: Any) -> Tenant:
    return Tenant.parse({"metadata": {"name": "finance", "uid": "u-1"}, "spec": spec})


def every_object(**spec: Any) -> list[dict[str, Any]]:
    made = a_tenant(**spec)
    return [
        namespace.namespace(made),
        namespace.operator_binding(made, PLATFORM),
        *tenant.isolation(made, PLATFORM, []),
        credentials.api_keys(made, {"default": "secret"}, stamps="{}"),
        credentials.document_configmap(made, "{}"),
        *tenant.relay(made, workload.deployment(made, PLATFORM)),
    ]


def pod_of(**spec: Any) -> dict[str, Any]:
    pod: dict[str, Any] = workload.deployment(a_tenant(**spec), PLATFORM)["spec"]["template"][
        "spec"
    ]
    return pod


def egress_of(*upstreams: Upstream) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = policies.relay_traffic(a_tenant(), PLATFORM, upstreams)["spec"][
        "egress"
    ]
    return rules


def test_every_object_is_labelled_as_ours_and_lives_in_the_tenants_namespace() -> None:
    for made in every_object():
        assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "relay-operator"
        assert made["metadata"].get("namespace", "relay-finance") == "relay-finance"


def test_equal_input_gives_equal_objects() -> None:
    assert every_object() == every_object()


def test_the_namespace_carries_the_incarnation_and_the_restricted_profile() -> None:
    made = namespace.namespace(a_tenant())["metadata"]
    assert made["annotations"] == {"relay-operator.dev/tenant-uid": "u-1"}
    assert made["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert made["ownerReferences"][0]["uid"] == "u-1"


def test_the_relay_pod_meets_the_restricted_profile_and_has_no_token() -> None:
    pod = pod_of()
    container = pod["containers"][0]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_document_takes_no_part_in_the_pod_template() -> None:
    quiet = workload.deployment(a_tenant(), PLATFORM)
    busy = workload.deployment(
        a_tenant(limits={"requestsPerMinute": 5}, queue={"concurrency": 3}), PLATFORM
    )
    assert quiet == busy


def test_the_grace_period_outlives_the_drain() -> None:
    pod = pod_of()
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > PLATFORM.drain_seconds + sleep


def test_tls_mounts_the_tenants_secret() -> None:
    assert [volume["name"] for volume in pod_of()["volumes"]] == ["document", "upstream", "state"]
    volumes = {
        volume["name"]: volume
        for volume in pod_of(network={"tls": {"secretName": "relay-tls"}})["volumes"]
    }
    assert volumes["tls"]["secret"]["secretName"] == "relay-tls"


def test_everything_is_denied_by_default_both_ways() -> None:
    spec = policies.default_deny(a_tenant())["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_nobody_may_call_a_relay_unless_named() -> None:
    ports = [
        rule["ports"][0]["port"]
        for rule in policies.relay_traffic(a_tenant(), PLATFORM, [])["spec"]["ingress"]
    ]
    assert ports == [8081]


def test_callers_are_let_in_by_the_namespaces_unforgeable_label_or_by_address() -> None:
    allowed = a_tenant(network={"allowFrom": [{"namespace": "web"}, {"cidr": "203.0.113.0/24"}]})
    rule = policies.relay_traffic(allowed, PLATFORM, [])["spec"]["ingress"][1]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert rule["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}},
        {"ipBlock": {"cidr": "203.0.113.0/24"}},
    ]


def test_a_relay_reaches_dns_and_nothing_else_without_upstreams() -> None:
    [rule] = egress_of()
    assert {port["port"] for port in rule["ports"]} == {53}
    # of the namespace of the DNS pods these alone
    in_namespace = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    }
    dns_pods = {"podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    servers = {"ipBlock": {"cidr": "198.51.100.2/32"}}
    assert rule["to"] == [in_namespace | dns_pods, servers]
    any_pod = replace(PLATFORM, dns_pods=())
    [rule] = policies.relay_traffic(a_tenant(), any_pod, [])["spec"]["egress"]
    assert rule["to"] == [in_namespace, servers]


def test_a_service_upstream_becomes_its_pods() -> None:
    upstream = Upstream(
        provider="p", port="api", namespace="providers", pod_selector=(("app", "p"),)
    )
    assert egress_of(upstream)[1] == {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "providers"}},
                "podSelector": {"matchLabels": {"app": "p"}},
            }
        ],
        "ports": [{"protocol": "TCP", "port": "api"}],
    }


def test_an_external_upstream_opens_one_port_and_no_private_range() -> None:
    rule = egress_of(Upstream(provider="p", port=443))[1]
    v4, v6 = (peer["ipBlock"] for peer in rule["to"])
    assert {
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "127.0.0.0/8",
    } <= set(v4["except"])
    assert {"fc00::/7", "fe80::/10", "::1/128"} <= set(v6["except"])
    assert rule["ports"] == [{"protocol": "TCP", "port": 443}]


def test_declared_addresses_are_the_only_way_when_given() -> None:
    rule = egress_of(Upstream(provider="p", port=443, cidrs=("10.1.2.0/24",)))[1]
    assert rule["to"] == [{"ipBlock": {"cidr": "10.1.2.0/24"}}]


@pytest.mark.parametrize(("tls", "scheme"), [(None, "http"), ({"secretName": "s"}, "https")])
def test_the_endpoint_is_the_sdks_base_url(tls: dict[str, str] | None, scheme: str) -> None:
    made = a_tenant(network={"tls": tls} if tls else {})
    assert workload.endpoint(made) == f"{scheme}://relay.relay-finance.svc:8080/v1"


def test_provider_keys_are_one_entry_each_in_a_fixed_order() -> None:
    made = credentials.upstream_keys(a_tenant(), {"b": "2", "a": "1"})
    assert made["metadata"]["name"] == "relay-upstream"
    assert list(made["data"].items()) == [("a", "MQ=="), ("b", "Mg==")]


def an_entry(**fields: Any) -> Tenant:
    return a_tenant(network={"service": fields})


def test_a_service_is_reached_within_the_cluster_unless_asked_otherwise() -> None:
    made = workload.service(a_tenant())
    assert made["spec"]["type"] == "ClusterIP"
    assert "annotations" not in made["metadata"]
    assert made["spec"].keys() == {"type", "selector", "ports"}


def test_a_load_balancer_keeps_callers_addresses_and_the_policy_lets_its_ranges_in() -> None:
    balanced = an_entry(
        type="LoadBalancer",
        loadBalancerClass="example.com/internal",
        annotations={"example.com/size": "small"},
        loadBalancerSourceRanges=["203.0.113.9/24", "203.0.113.0/24", "2001:db8::/32"],
    )
    made = workload.service(balanced)
    assert made["metadata"]["annotations"] == {"example.com/size": "small"}
    assert made["spec"]["externalTrafficPolicy"] == "Local"
    assert made["spec"]["loadBalancerClass"] == "example.com/internal"
    assert made["spec"]["loadBalancerSourceRanges"] == ["203.0.113.0/24", "2001:db8::/32"]
    assert made["spec"]["selector"]["relay-operator.dev/tenant"] == "finance"
    [_, callers] = policies.relay_traffic(balanced, PLATFORM, ())["spec"]["ingress"]
    blocks = [one["ipBlock"]["cidr"] for one in callers["from"]]
    assert blocks == ["203.0.113.0/24", "203.0.113.0/24", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("", "relay.relay-finance.svc"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "[2001:db8::7]"),
        ("lb.example.com", "lb.example.com"),
    ],
)
def test_the_endpoint_follows_the_load_balancer(entry: str, host: str) -> None:
    assert workload.endpoint(a_tenant(), entry=entry) == f"http://{host}:8080/v1"


@pytest.mark.parametrize(
    "name",
    ["metallb.io/allow-shared-ip", "lbipam.cilium.io/sharing-key", "example.com/share-ip"],
)
def test_no_annotation_lets_tenants_share_an_address(name: str) -> None:
    with pytest.raises(InvalidSpec, match="tenants would share"):
        an_entry(annotations={name: "all"})


def test_relays_ask_and_reach_the_dns_servers_of_the_platform_alone() -> None:
    own = replace(PLATFORM, dns_nameservers=("203.0.113.53", "2001:db8::53"))
    made = a_tenant()
    [rule] = policies.relay_traffic(made, own, [])["spec"]["egress"]
    # past the cluster's, which knows the names of all tenants
    assert [one["ipBlock"]["cidr"] for one in rule["to"]] == [
        "203.0.113.53/32",
        "2001:db8::53/128",
        "198.51.100.2/32",
    ]
    pod = workload.deployment(made, own)["spec"]["template"]["spec"]
    assert pod["dnsPolicy"] == "None"
    assert pod["dnsConfig"]["nameservers"] == ["203.0.113.53", "2001:db8::53"]
    assert "searches" not in pod["dnsConfig"]
    assert "dnsPolicy" not in pod_of()
