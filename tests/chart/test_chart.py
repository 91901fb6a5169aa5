"""The chart renders, refuses unknown values, is hardened, and asks for no more rights than are listed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.rendering import CHART, helm, helm_anew, manifests, rendered
from tests.e2e.previous_chart import PREVIOUS
from tests.pages.manifests import Copied, Form, copied

from relay_contract import endpoints
from relay_operator import names
from relay_operator.api.tiers import Tiers
from relay_operator.handlers import secret_watch
from relay_operator.settings import Settings

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def the(kind: str, name: str = "relay-operator") -> dict[str, Any]:
    return next(one for one in rendered() if (one["kind"], one["metadata"]["name"]) == (kind, name))


def test_the_chart_passes_lint() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


SPREAD = "operator.topologySpreadConstraints[0]."
SHARD = "operator.shards[0]."


@pytest.mark.parametrize(
    "value",
    [
        "imagee.tag=1",
        "image.pullPolicy=Sometimes",
        "operator.workers=0",
        "operator.replicas=0",
        "operator.leaseSeconds=2",
        "prometheus.url=ftp://x",
        "prometheus.url=http://relay:s3cret@prometheus.test",
        "prometheus.url=http://:9090",
        "prometheus.url=http://a b",
        "prometheus.url=http://[x",
        "prometheus.url=http://prometheus.test:99999",
        "prometheus.url=http://prometheus..test",
        "prometheus.headers.X Y=a",
        "prometheus.headers.X-Y=\u00e9",
        "prometheus.job=",
        "prometheus.podSelector=app",
        "admission.breakGlassGroups[0]=it's",
        "admission.exemptUsers=root",
        "admission.enabled=maybe",
        "admission.namespaceLabels.pod-security\\.kubernetes\\.io/enforce=*",
        "admission.namespaceLabels.relay-operator\\.dev/tenant=*",
        "admission.namespaceLabels.app\\.kubernetes\\.io/managed-by=*",
        "admission.namespaceLabels.team=it's",
        "admission.namespaceAnnotations.team=it's",
        "admission.namespaceAnnotations.te'am=a",
        "admission.relayPriorityClasses[0]=system-node-critical",
        "admission.relayPriorityClasses[0]=it's",
        "prometheus.labels.pod=not a label",
        "prometheus.auth.type=bearer",
        "prometheus.tls.clientCertificate=true",
        "webhook.url=https://receiver.test/hook",
        "webhook.url=https://relay:s3cret@receiver.test",
        "webhook.url=receiver.test",
        "alerts.labels.severity=page",
        "alerts.labels.a-b=c",
        "alerts.annotations.summary=mine",
        "alerts.annotations.description=mine",
        "alerts.annotations.runbook_url=mine",
        "operator.workers=null",
        "operator.rolloutsAtOnce=0",
        "tiers.Premium.production=true",
        "tiers.premium.suspend=true",
        "tiers.premium.production=yes",
        "tiers.premium.relay.image=evil",
        "tiers.premium.relay.replicas=0",
        "tiers.premium.relay.autoscaling.minReplicas=1",
        "tiers.premium.relay.resources.limits.disk=1",
        "tiers.premium.relay.resources.limits.cpu=much",
        "tiers.premium.queue.maxWait=soon",
        "tiers.premium.limits.models[0].requestsPerMinute=1",
        "prometheus=null",
        "image.digest=sha256:abc",
        "image.tag=a b",
        "image.repository=UPPER/case",
        "image.pullSecrets[0]=Not_A_Name",
        "image.pullSecrets=registry",
        "commonLabels.app\\.kubernetes\\.io/name=mine",
        "commonLabels.team=a b",
        "commonAnnotations.helm\\.sh/hook=test",
        "commonAnnotations.relay-operator\\.dev/tiers=x",
        "commonAnnotations.kubectl\\.kubernetes\\.io/default-container=x",
        "commonAnnotations.checkov\\.io/skip1=x",
        "operator.podAnnotations.kubectl\\.kubernetes\\.io/default-container=x",
        "operator.podLabels.relay-operator\\.dev/tenant=x",
        "operator.topologySpreadConstraints[0].maxSkew=1",
        f"{SPREAD}topologyKey=zone,{SPREAD}maxSkew=1,{SPREAD}whenUnsatisfiable=Never",
        "operator.affinity.podAntiAfinity.x=1",
        f"{SHARD}name=a,{SHARD}tenantSelector=tier in premium",
        f"{SHARD}name=a,{SHARD}tenantSelector=tier=a b",
        "podMonitors.labels.release=a b",
        "dashboards.labels.-grafana=1",
        "alerts.objectLabels.release=a/b",
        "operator.resources.cpu=1",
        "operator.nodeSelector.zone[0]=a",
        "operator.nodeSelector.ssd=true",
        "operator.tolerations[0].operator=Bogus",
        "operator.tolerations[0].effect=Never",
        "operator.tolerations[0].keys=a",
        "network.clusterCIDRs[0]=10.0.0.1/33",
        "network.clusterCIDRs[0]=2001:db8::/129",
        "network.clusterCIDRs[0]=2001:db8/32",
        "network.clusterCIDRs[0]=2001::db8::/32",
        "operator.resources.limits.cpu=much",
        "serviceAccount.name=mine",
        "network.clusterDomain=.local",
        "network.clusterDomain=Cluster.Local",
        "crds.upgradeJob=true",
        "podMonitors.seconds=1",
        "prometheus.namespace=Not_A_Name",
        "dns.namespace=Not_A_Name",
        "alerts.namespace=Not_A_Name",
        "dashboards.namespace=Not_A_Name",
        "podMonitors.namespace=Not_A_Name",
        "prometheus.podSelector=/=prometheus",
        "dns.podSelector=-app=dns",
        "dns.nameservers[0]=10.0.0",
        "dns.nameservers[0]=10.0.0.256",
        "dns.nameservers[0]=dns.example.com",
        "dns.nameservers[0]=:",
        "dns.nameservers[0]=1:2:3",
        "operator.priorityClassName=Not_A_Name",
        "podMonitors.enabled=yes",
    ],
)
def test_an_unknown_or_invalid_value_is_refused(value: str) -> None:
    done = helm("template", "x", str(CHART), "--set", value)
    assert "don't meet the specifications of the schema" in done.stderr


OF_OTHERS = {
    "global": "is what Helm gives to all charts of a parent",
    "ledger.payments.from[].namespaceSelector": "is checked by the API server, as are those below",
    "ledger.payments.from[].podSelector": "",
    "operator.topologySpreadConstraints[].labelSelector": "",
    "operator.affinity.nodeAffinity": "",
    "operator.affinity.podAffinity": "",
    "operator.affinity.podAntiAffinity": "",
}
"""Values whose fields the chart's schema does not know, and why."""


def open_objects(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yields every object, at whatever depth, in which a misspelt field would be taken for another one, or for nothing."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    if schema.get("type") == "object" and schema.get("additionalProperties", True) is True:
        yield path
    for part in schema.get("allOf", ()):
        yield from open_objects(part, path)
    for name, inner in schema.get("properties", {}).items():
        yield from open_objects(inner, f"{path}.{name}" if path else name)
    for sign, key in (("[]", "items"), (".*", "additionalProperties")):
        if isinstance(schema.get(key), dict):
            yield from open_objects(schema[key], f"{path}{sign}")


def test_the_schema_is_closed_at_every_depth() -> None:
    assert set(open_objects(SCHEMA)) == OF_OTHERS.keys()


def paths(values: Any, path: str = "") -> Iterator[str]:
    for name, inner in values.items() if isinstance(values, dict) else ():
        yield f"{path}.{name}" if path else name
        yield from paths(inner, f"{path}.{name}" if path else name)


def known(schema: dict[str, Any], path: list[str]) -> bool:
    """Tells whether a schema has a field by its name, or takes any name there."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    if not path:
        return True
    below = schema.get("properties", {}).get(path[0], schema.get("additionalProperties"))
    return isinstance(below, dict) and known(below, path[1:])


def test_the_schema_knows_every_default_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    listed = list(paths(values))
    assert len(listed) > 180
    assert [one for one in listed if not known(SCHEMA, one.split("."))] == []


@pytest.mark.parametrize(
    "one", [one for one in copied() if one.form is Form.VALUES], ids=lambda one: one.place
)
def test_values_that_a_page_gives_are_taken(one: Copied, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(one.content))
    done = helm("template", "relay-operator", str(CHART), "--values", str(file))
    assert done.returncode == 0, done.stderr


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if ":" in line and not line.lstrip().startswith("#") and not before.lstrip().startswith("#")
    ]
    # keys of values that are passed on to Kubernetes unchanged
    passed_on = ("requests:", "limits:", "resources:", "nodeSelector:", "tolerations:")
    assert [line for line in bare if not line.strip().startswith(passed_on)] == []


def test_every_environment_variable_of_the_operator_is_a_setting() -> None:
    container = the("Deployment")["spec"]["template"]["spec"]["containers"][0]
    known = {f"OPERATOR_{field.upper()}" for field in Settings.model_fields}
    assert {one["name"] for one in container["env"]} <= known


def operator(*values: str) -> tuple[dict[str, str], dict[str, str]]:
    """Environment of the operator's container, and the Secrets it mounts by their paths."""
    [deployment] = [one for one in rendered(*values) if one["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    secrets = {
        volume["name"]: volume["secret"]["secretName"]
        for volume in pod["volumes"]
        if "secret" in volume
    }
    mounts = {
        mount["mountPath"]: secrets[mount["name"]]
        for mount in container["volumeMounts"]
        if mount["name"] in secrets
    }
    # facts of the pod have no value here
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}, mounts


@pytest.mark.parametrize(
    ("auth", "keys"),
    [("bearer", ["token"]), ("basic", ["username", "password"])],
)
def test_credentials_for_prometheus_are_mounted_and_named_by_their_files(
    auth: str, keys: list[str]
) -> None:
    environment, mounts = operator(
        f"prometheus.auth.type={auth}",
        "prometheus.auth.secretName=metrics",
        "prometheus.tls.secretName=metrics-tls",
        "prometheus.tls.clientCertificate=true",
        "prometheus.headers.X-Scope-OrgID=platform",
    )
    fields = {name.removeprefix("OPERATOR_").lower(): value for name, value in environment.items()}
    headers = json.loads(fields.pop("prometheus_headers"))
    assert headers == {"X-Scope-OrgID": "platform"}
    settings = Settings.model_validate(fields)
    for key in keys:
        path = Path(getattr(settings, f"prometheus_{key}_file"))
        assert (mounts[str(path.parent)], path.name) == ("metrics", key)
    for field, key in (("ca", "ca.crt"), ("certificate", "tls.crt"), ("key", "tls.key")):
        path = Path(getattr(settings, f"prometheus_{field}_file"))
        assert (mounts[str(path.parent)], path.name) == ("metrics-tls", key)


def test_a_webhook_has_its_secret_and_its_authority_mounted() -> None:
    environment, mounts = operator(
        "webhook.url=https://receiver.test/hook",
        "webhook.secretName=hook",
        "webhook.caSecretName=hook-ca",
        "webhook.allowedCIDRs={10.96.0.0/12,fd00:10::/56}",
    )
    fields = {name.removeprefix("OPERATOR_").lower(): value for name, value in environment.items()}
    settings = Settings.model_validate(fields)
    assert settings.webhook_url == "https://receiver.test/hook"
    assert settings.webhook_allowed_cidrs == "10.96.0.0/12,fd00:10::/56"
    for field, secret, key in (("secret", "hook", "secret"), ("ca", "hook-ca", "ca.crt")):
        path = Path(getattr(settings, f"webhook_{field}_file"))
        assert (mounts[str(path.parent)], path.name) == (secret, key)


def test_a_secret_that_does_not_exist_keeps_the_operator_from_nothing_else() -> None:
    [deployment] = [
        one
        for one in rendered(
            "webhook.url=https://receiver.test/hook",
            "webhook.secretName=hook",
            "webhook.caSecretName=hook-ca",
            "prometheus.auth.type=bearer",
            "prometheus.auth.secretName=metrics",
            "prometheus.tls.secretName=metrics-tls",
        )
        if one["kind"] == "Deployment"
    ]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    optional = {one["name"]: one["secret"].get("optional") for one in volumes if "secret" in one}
    names_of_volumes = ("prometheus-tls", "prometheus-auth", "webhook", "webhook-ca")
    assert optional == dict.fromkeys(names_of_volumes, True)


def test_without_credentials_nothing_is_mounted() -> None:
    environment, mounts = operator()
    assert mounts == {}
    files = {name for name in environment if name.endswith("_FILE") or "HEADERS" in name}
    assert files == {"OPERATOR_TIERS_FILE"}


@pytest.mark.parametrize(
    "value",
    [
        "dns.nameservers={10.0.0.2,fd00::2,::1}",
        "dns.podSelector=k8s.io/app=dns\\,tier=a.b-c",
        "dns.podSelector=",
        "prometheus.podSelector=app=",
        "prometheus.namespace=monitoring-2",
        "operator.priorityClassName=system-cluster-critical",
        "operator.priorityClassName=",
    ],
)
def test_what_the_schema_takes_the_operator_takes(value: str) -> None:
    environment, _ = operator(value)
    fields = {name.removeprefix("OPERATOR_").lower(): one for name, one in environment.items()}
    assert Settings.model_validate(fields)


def test_the_operator_pod_meets_the_restricted_profile() -> None:
    pod = the("Deployment")["spec"]["template"]["spec"]
    security = pod["containers"][0]["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for one in rendered()
        if one["kind"] in ("ClusterRole", "Role")
        for rule in one["rules"]
    ]


def test_no_rule_has_a_wildcard() -> None:
    assert [rule for rule in rules() if "*" in json.dumps(rule)] == []


def test_secrets_can_be_read_only_where_a_binding_allows_it_and_only_those_of_api_keys_are_watched() -> (
    None
):
    everywhere = the("ClusterRole")["rules"]
    [watch] = [rule for rule in everywhere if "secrets" in rule["resources"]]
    assert (watch["resources"], watch["verbs"]) == (["secrets"], ["watch"])
    assert tuple(watch["resourceNames"]) == secret_watch.WATCHED
    assert [
        rule for rule in rules() if "secrets" in rule["resources"] and "list" in rule["verbs"]
    ] == []


def test_the_operator_may_bind_exactly_one_role_by_name() -> None:
    binding = [rule for rule in rules() if {"bind", "escalate", "impersonate"} & set(rule["verbs"])]
    assert [(rule["verbs"], rule["resourceNames"]) for rule in binding] == [
        (["bind"], ["relay-operator-tenant"])
    ]


def test_chart_and_code_agree_on_the_port() -> None:
    assert the("Service")["spec"]["ports"][0]["port"] == names.OPERATOR_PORT


TIER = {
    "production": True,
    "relay": {
        "autoscaling": {"minReplicas": 1, "maxReplicas": 50, "cpuPercent": 80},
        "resources": {"requests": {"cpu": "250m", "memory": 134217728}, "limits": {"cpu": 2}},
    },
    "queue": {
        "concurrency": 10000,
        "maxDepth": 100000,
        "maxWait": "1m30s",
        "weight": 1000,
        "guaranteedSeats": 8,
    },
    "limits": {
        "requestsPerMinute": 100000000,
        "tokensPerMinute": 1000000000,
        "burstSeconds": 3600,
        "models": [{"name": "gpt-4.1", "requestsPerMinute": 1, "tokensPerMinute": 1000000}],
    },
}


def test_the_operator_reads_the_tiers_that_the_chart_hands_over(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"tiers": {"premium": TIER}}))
    done = helm("template", "relay-operator", str(CHART), "--values", str(values))
    made = {(one["kind"], one["metadata"]["name"]): one for one in manifests(done)}
    text = made["ConfigMap", "relay-operator-tiers"]["data"]["tiers.json"]
    known = Tiers.parse(text).known
    assert known.keys() == {"standard", "production", "premium"}
    assert known["premium"].values == {name: TIER[name] for name in ("relay", "queue", "limits")}


def test_other_tiers_restart_the_operator() -> None:
    def pods(*sets: str) -> Any:
        # not what an earlier rendering gave: each is to have the same
        done = helm_anew("template", "relay-operator", str(CHART), *sets)
        return next(one for one in manifests(done) if one["kind"] == "Deployment")["spec"][
            "template"
        ]

    assert pods() == pods()
    assert pods() != pods("--set", "tiers.standard.relay.replicas=2")


def bounds(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Returns what a schema says of every field, without words, references followed."""
    schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    kept = {name: schema[name] for name in BOUNDS if name in schema}
    for name, below in schema.get("properties", {}).items():
        kept[name] = bounds(below, definitions)
    if isinstance(schema.get("items"), dict):
        kept["items"] = bounds(schema["items"], definitions)
    return kept


BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "maxItems", "pattern", "required")


def test_tiers_have_the_bounds_that_the_custom_resource_has() -> None:
    tier = bounds({"$ref": "#/definitions/tier"}, SCHEMA["definitions"])
    del tier["production"]
    crd = yaml.safe_load((CHART / "crds" / "tenants.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    own = bounds(spec, {})
    for amounts in ("requests", "limits"):
        each = spec["properties"]["relay"]["properties"]["resources"]["properties"][amounts]
        found = bounds(each["additionalProperties"], {})
        own["relay"]["resources"][amounts] = {"cpu": found, "memory": found}
    assert tier == {name: own[name] for name in tier}


def test_there_are_two_operators_on_different_nodes_and_one_may_go_at_a_time() -> None:
    deployment, budget = the("Deployment")["spec"], the("PodDisruptionBudget")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    labels = deployment["selector"]["matchLabels"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"] == labels
    [apart] = deployment["template"]["spec"]["affinity"]["podAntiAffinity"].values()
    terms = [one["podAffinityTerm"] for one in sorted(apart, key=lambda one: -one["weight"])]
    assert [one["topologyKey"] for one in terms] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    assert all(one["labelSelector"]["matchLabels"] == labels for one in terms)


def test_one_operator_is_kept_on_no_node() -> None:
    kinds = [one["kind"] for one in rendered("operator.replicas=1")]
    assert "PodDisruptionBudget" not in kinds


def test_a_platform_can_name_priority_and_affinity() -> None:
    [deployment] = [
        one
        for one in rendered(
            "operator.priorityClassName=system-cluster-critical",
            "operator.affinity.nodeAffinity.x=y",
        )
        if one["kind"] == "Deployment"
    ]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["affinity"] == {"nodeAffinity": {"x": "y"}}


def priority(*values: str) -> tuple[str, dict[str, Any]]:
    """Returns the PriorityClass that the operator's pods name, and the one that the chart makes."""
    everything = rendered(*values)
    [pod] = [one["spec"]["template"]["spec"] for one in everything if one["kind"] == "Deployment"]
    made = [one for one in everything if one["kind"] == "PriorityClass"]
    return pod.get("priorityClassName", ""), made[0] if made else {}


def test_the_operator_goes_last_from_a_full_node_and_first_onto_a_full_cluster() -> None:
    named, made = priority()
    assert named == made["metadata"]["name"] == the("Deployment")["metadata"]["name"]
    # above workloads of tenants, whose default is 0, and below what is kept for the cluster itself (2,000,000,000)
    assert 0 < made["value"] <= 1_000_000_000
    assert not made.get("globalDefault")


def test_the_cluster_may_have_its_own_priority_or_none() -> None:
    assert priority("operator.priorityClassName=system-cluster-critical") == (
        "system-cluster-critical",
        {},
    )
    assert priority("operator.priority=0") == ("", {})


def test_probes_leave_a_busy_operator_time_and_mend_one_that_stands_still() -> None:
    [container] = the("Deployment")["spec"]["template"]["spec"]["containers"]
    probes = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    assert {name: one["httpGet"]["path"] for name, one in probes.items()} == {
        "startup": endpoints.HEALTH_PATH,
        "liveness": endpoints.HEALTH_PATH,
        "readiness": endpoints.READY_PATH,
    }
    assert all(one["timeoutSeconds"] >= 5 for one in probes.values())
    patience = {
        name: one["periodSeconds"] * one["failureThreshold"] for name, one in probes.items()
    }
    # Python and its imports on a busy node; a few garbage collections and long reconciles; a short look away
    assert patience == {"startup": 120, "liveness": 30, "readiness": 6}


def test_one_lease_can_be_changed_by_its_name() -> None:
    leases = [rule for rule in rules() if "leases" in rule["resources"]]
    assert [(rule["verbs"], rule.get("resourceNames")) for rule in leases] == [
        (["create"], None),
        (["get", "patch"], [names.LEADER_LEASE]),
    ]


IMMUTABLE = {
    "Deployment": ("spec", "selector"),
    "ClusterRoleBinding": ("roleRef",),
    "RoleBinding": ("roleRef",),
    "Service": ("spec", "clusterIP"),
    "PriorityClass": ("value",),
}
"""By kind, a field that the API server never lets change: an upgrade with another value would fail."""


def immutable(chart: Path) -> dict[tuple[str, str], Any]:
    done = helm("template", "relay-operator", str(chart), "--namespace", "relay-system")
    found = {}
    for one in manifests(done):
        if one["kind"] in IMMUTABLE:
            value: Any = one
            for field in IMMUTABLE[one["kind"]]:
                value = value.get(field, {})
            found[one["kind"], one["metadata"]["name"]] = value
    return found


def test_an_upgrade_changes_no_field_that_cannot_be_changed() -> None:
    before, now = immutable(PREVIOUS), immutable(CHART)
    assert ("Deployment", "relay-operator") in before
    assert {key: now.get(key, value) for key, value in before.items()} == before
