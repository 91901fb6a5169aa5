"""The chart's admission policies, the role for tenants, and the operator's own network policy, as they are rendered."""

import json
from typing import Any

import pytest
from tests.chart.rendering import CHART, helm, rendered
from tests.chart.test_chart import operator

from relay_operator import names
from relay_operator.handlers import owned_objects
from relay_operator.settings import Settings
from relay_operator.settings import labels as settings_labels

POLICIES = ("relay-operator-bounds", "relay-operator-deletions", "relay-operator-labels", "relay-operator-route-sizes", "relay-operator-tenant-namespaces", "relay-operator-tenant-objects")  # fmt: skip
OF_EVERYBODY = ("relay-operator-labels", "relay-operator-route-sizes")
"""Policies that the cluster's own controllers keep as well."""
Manifest = dict[str, Any]


def of_kind(kind: str, *values: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in rendered(*values) if one["kind"] == kind}


def conditions(policy: str, *values: str) -> str:
    found = of_kind("ValidatingAdmissionPolicy", *values)[policy]
    return "\n".join(one["expression"] for one in found["spec"]["matchConditions"])


def test_every_policy_denies_and_goes_with_the_value() -> None:
    bindings = of_kind("ValidatingAdmissionPolicyBinding")
    assert sorted(of_kind("ValidatingAdmissionPolicy")) == sorted(POLICIES)
    assert {name: one["spec"] for name, one in bindings.items()} == {
        name: {"policyName": name, "validationActions": ["Deny"]} for name in POLICIES
    }
    off = [one["kind"] for one in rendered("admission.enabled=false")]
    assert not [kind for kind in off if kind.startswith("Validating")]


def test_the_policy_of_tenants_objects_reaches_no_other_namespace() -> None:
    constraints = of_kind("ValidatingAdmissionPolicy")["relay-operator-tenant-objects"]["spec"][
        "matchConstraints"
    ]
    assert constraints["namespaceSelector"] == {
        "matchLabels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
        "matchExpressions": [{"key": names.LABEL_TENANT, "operator": "Exists"}],
    }
    assert names.LABEL_TENANT in names.standard_labels("finance", component="tenant")


def test_the_operators_label_is_kept_for_it_on_every_kind_that_it_watches() -> None:
    constraints = of_kind("ValidatingAdmissionPolicy")["relay-operator-labels"]["spec"][
        "matchConstraints"
    ]
    guarded = {one for rule in constraints["resourceRules"] for one in rule["resources"]}
    assert guarded == set(owned_objects.watched())
    assert constraints["objectSelector"] == {
        "matchLabels": {names.LABEL_MANAGED_BY: names.MANAGED_BY}
    }
    [expression] = constraints["namespaceSelector"]["matchExpressions"]
    assert expression == {"key": names.LABEL_TENANT, "operator": "DoesNotExist"}


def test_what_plugins_report_of_pods_and_services_is_left_to_rights_in_the_whole_cluster() -> None:
    spec = of_kind("ValidatingAdmissionPolicy")["relay-operator-tenant-objects"]["spec"]
    variables = {one["name"]: one["expression"] for one in spec["variables"]}
    assert "!variables.isReport" in variables["isKept"]
    assert "variables.kind in ['pods', 'services'] && variables.part == 'status'" in variables["isReport"]  # fmt: skip
    # a report moves no pod out of a policy and has nothing collected
    for field in ("labels", "ownerReferences"):
        same = f"object.metadata.?{field} == oldObject.metadata.?{field}"
        assert same in variables["isReport"]
    assert "variables.isKept || variables.mayEverywhere" in [
        one["expression"] for one in spec["validations"]
    ]


@pytest.mark.parametrize("policy", [one for one in POLICIES[1:] if one not in OF_EVERYBODY])
def test_who_is_not_concerned_is_named(policy: str) -> None:
    found = conditions(policy)
    for name in (
        "system:serviceaccount:relay-system:relay-operator",
        "system:serviceaccounts:kube-system",
        "system:nodes",
        "system:kube-controller-manager",
        "relay-operator:break-glass",
    ):
        assert name in found
    more = conditions(
        policy,
        "admission.breakGlassGroups={on-call}",
        "admission.exemptUsers={eks:controllers}",
        "admission.exemptGroups={system:serviceaccounts:openshift-infra}",
    )
    for name in ("on-call", "eks:controllers", "system:serviceaccounts:openshift-infra"):
        assert name in more
    assert "relay-operator:break-glass" not in more


def test_without_a_break_glass_group_the_refusal_says_so() -> None:
    none = ("template", "x", str(CHART), "--set-json", "admission.breakGlassGroups=[]")
    assert "a group of admission.breakGlassGroups, which names none" in helm(*none).stdout


def test_another_release_is_bound_to_its_own_names() -> None:
    bounds = json.dumps(
        of_kind(
            "ValidatingAdmissionPolicy", "image.repository=registry.test/relays", "image.tag=v7"
        )
    )
    assert "registry.test/relays:v7" in bounds
    environment, _ = operator("image.repository=registry.test/relays", "image.tag=v7")
    assert environment["OPERATOR_RELAY_IMAGE"] == "registry.test/relays:v7"


def test_policies_and_code_agree_on_names() -> None:
    policies = of_kind("ValidatingAdmissionPolicy")
    objects = json.dumps(policies["relay-operator-tenant-objects"])
    bounds = json.dumps(policies["relay-operator-bounds"])
    for secret in (names.API_KEYS_SECRET, names.UPSTREAM_SECRET):
        assert f"'{secret}'" in objects
        assert f"'{secret}'" in bounds
    for name in (names.SIGNING_KEY_SECRET, names.TENANT_ROLE_BINDING, names.RELAY, names.ANNOTATION_TENANT_UID):  # fmt: skip
        assert f"'{name}'" in bounds
    assert f"startsWith('{names.NAMESPACE_PREFIX}')" in bounds
    assert f"substring({len(names.NAMESPACE_PREFIX)})" in bounds


def test_people_of_a_tenant_get_routes_and_their_keys_and_nothing_else() -> None:
    role = of_kind("ClusterRole")["relay-tenant"]
    assert role["rules"] == [
        {
            "apiGroups": [names.GROUP],
            "resources": ["relayroutes"],
            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
        },
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [names.API_KEYS_SECRET],
            "verbs": ["get"],
        },
    ]
    assert "rbac.authorization.k8s.io/aggregate-to-edit" not in role["metadata"]["labels"]


def test_the_operators_port_is_open_to_prometheus_pods_alone() -> None:
    spec = of_kind("NetworkPolicy")["relay-operator"]["spec"]
    deployment = of_kind("Deployment")["relay-operator"]["spec"]
    assert spec["podSelector"] == deployment["selector"]
    assert spec["policyTypes"] == ["Ingress"]
    to_port, to_decoy = spec["ingress"]
    # what relays try to reach, so that a refusal is that of their own policies
    assert to_decoy == {"ports": [{"protocol": "TCP", "port": 8091}]}
    assert [to_port] == [
        {
            "from": [
                {
                    "namespaceSelector": {"matchLabels": {names.LABEL_NAMESPACE_NAME: "monitoring"}},
                    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
                }
            ],
            "ports": [{"protocol": "TCP", "port": "http"}],
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ("app=prom\\,team=", {"app": "prom", "team": ""}),
        ("", {}),
        ("null", {"app.kubernetes.io/name": "prometheus"}),
    ],
)
def test_prometheus_pods_are_named_once_for_relays_and_operator(
    value: str, labels: dict[str, str]
) -> None:
    setting = f"prometheus.podSelector={value}"
    rule, _ = of_kind("NetworkPolicy", setting)["relay-operator"]["spec"]["ingress"]
    assert rule["from"][0]["podSelector"]["matchLabels"] == labels
    environment, _ = operator(setting)
    found = environment.get("OPERATOR_PROMETHEUS_POD_SELECTOR")
    settings = Settings() if found is None else Settings(prometheus_pod_selector=found)
    assert dict(settings_labels(settings.prometheus_pod_selector)) == labels


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ((), {"k8s-app": "kube-dns"}),
        (("dns.namespace=openshift-dns",), {}),
        (("dns.podSelector=",), {}),
        (
            ("dns.namespace=openshift-dns", "dns.podSelector=dns.operator.openshift.io/daemonset-dns=default"),
            {"dns.operator.openshift.io/daemonset-dns": "default"},
        ),
    ],
)  # fmt: skip
def test_of_the_namespace_of_dns_relays_reach_the_dns_pods_alone(
    values: tuple[str, ...], labels: dict[str, str]
) -> None:
    environment, _ = operator(*values)
    settings = Settings(dns_pod_selector=environment["OPERATOR_DNS_POD_SELECTOR"])
    assert dict(settings_labels(settings.dns_pod_selector)) == labels


def test_the_operator_tells_relays_the_labels_of_its_own_pods() -> None:
    environment, _ = operator()
    labels = dict(settings_labels(environment["OPERATOR_POD_SELECTOR"]))
    pod = of_kind("Deployment")["relay-operator"]["spec"]["template"]["metadata"]["labels"]
    assert labels
    assert labels.items() <= pod.items()


def test_what_the_platform_sets_on_namespaces_is_let_through_by_key_and_value() -> None:
    def labels_and_annotations(*values: str) -> str:
        spec = of_kind("ValidatingAdmissionPolicy", *values)["relay-operator-bounds"]["spec"]
        return next(
            str(one["expression"])
            for one in spec["validations"]
            if "sets its own labels" in one["message"]
        )

    assert "key == '" not in labels_and_annotations()
    found = labels_and_annotations(
        "admission.namespaceLabels.team=payments",
        "admission.namespaceLabels.example\\.com/zone=*",
        "admission.namespaceAnnotations.owner=a b",
    )
    assert "(key == 'team' && variables.labels[key] == 'payments')" in found
    assert "|| key == 'example.com/zone' ||" in found.replace("false || ", "|| ")
    assert "(key == 'owner' && variables.annotations[key] == 'a b')" in found


def test_relays_have_no_priority_class_but_those_that_the_platform_names() -> None:
    def classes(*values: str) -> str:
        spec = of_kind("ValidatingAdmissionPolicy", *values)["relay-operator-bounds"]["spec"]
        expressions = " ".join(str(one["expression"]) for one in spec["validations"])
        return expressions.partition("?priorityClassName.orValue('') in ")[2].partition(" &&")[0]

    assert classes() == "['']"
    named = ("admission.relayPriorityClasses[0]=tenants", "admission.relayPriorityClasses[1]=b.c")
    assert classes(*named) == "['','tenants','b.c']"
