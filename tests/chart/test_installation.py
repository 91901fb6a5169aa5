"""The chart fits any release name, namespace, registry and monitoring, and what it runs beside the operators has its own rights."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.exported import LEDGER, OPERATOR, RELAY, exported
from tests.chart.rendering import CHART, flags, helm, manifests, template
from tests.unit.repository.test_documents import ledger_job, scrape_jobs

from relay_operator import names
from relay_operator.commands import command_line, crds, trial
from relay_operator.settings import Settings, split

DIGEST = f"sha256:{'a' * 64}"
Object = dict[str, Any]
SET_BY_THE_PROMETHEUS_OPERATOR = {"namespace", "pod", "container", "endpoint", "job", "instance"}


def rendered(*sets: str, name: str = "relay-operator", space: str = "relay-system") -> list[Object]:
    return manifests(template(*flags(sets, "--set-json"), release=name, space=space))


def notes(*sets: str, name: str) -> str:
    """Returns what helm tells who installs a release; it needs no cluster for that."""
    command = ("install", name, str(CHART), "--dry-run=client", "--namespace", "relay-system")
    done = helm(*command, "--kubeconfig", "/nowhere", *flags(sets, "--set-json"))
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:\n")[2]


def hook_of(one: Object) -> str:
    annotations = one["metadata"].get("annotations") or {}
    return str(annotations.get("helm.sh/hook", ""))


def of_release(objects: list[Object]) -> list[Object]:
    return [one for one in objects if not hook_of(one)]


def the(objects: list[Object], kind: str, name: str) -> Object:
    [found] = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pod_of(objects: list[Object], name: str = "relay-operator") -> Object:
    spec: Object = the(objects, "Deployment", name)["spec"]["template"]["spec"]
    return spec


def environment(objects: list[Object]) -> Object:
    [container] = pod_of(objects)["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


@pytest.mark.parametrize(
    ("release", "called"),
    [
        ("my.release", "my-release"),
        ("1st", "r1st"),
        ("a" * 53, "a" * 53),
        ("r" * 51 + ".9", "r" * 51 + "-9"),
        ("2" + "a" * 52, "r2" + "a" * 52),
    ],
)
def test_every_name_that_helm_takes_gives_names_that_kubernetes_takes(
    release: str, called: str
) -> None:
    objects = rendered(
        "crds.upgradeJob.enabled=true",
        "ledger.enabled=true",
        "podMonitors.enabled=true",
        name=release,
    )
    for one in objects:
        name = one["metadata"]["name"]
        most = 63 if one["kind"] in ("Service", "Pod", "Job", "Namespace") else 253
        assert len(name) <= most
        if one["kind"] == "Service":
            # RFC 1035: no dot, and a letter first
            assert "." not in name
            assert name[0].isalpha()
        for label in (one["metadata"].get("labels") or {}).values():
            assert len(label) <= 63
    assert the(objects, "Deployment", called)
    assert environment_of(objects, called)["OPERATOR_SERVICE_ACCOUNT"] == called


@pytest.mark.parametrize("ledger", ["false", "true"])
def test_the_notes_name_what_the_release_has(ledger: str) -> None:
    values = (f"ledger.enabled={ledger}", "podMonitors.enabled=true")
    objects = rendered(*values, name="my.release")
    text = notes(*values, name="my.release")
    has = {
        kind: {one["metadata"]["name"] for one in objects if one["kind"] == kind}
        for kind in ("Deployment", "PodMonitor")
    }
    assert set(re.findall(r"\bdeploy(?:ment)?/(\S+)", text)) == has["Deployment"]
    [line] = re.findall(r"^PodMonitors (.+) tell", text, re.MULTILINE)
    assert set(re.split(", | and ", line)) == has["PodMonitor"]


def test_the_notes_name_every_address_of_the_scrape_jobs() -> None:
    """The page has those of the usual release, and says that the notes have those of another one."""
    text = notes("ledger.enabled=true", name="my.release")
    jobs = [*scrape_jobs().values(), ledger_job()]
    found = re.findall(r"[\w.-]+relay-system\.svc[\w:/]*", json.dumps(jobs))
    assert len(found) == 4
    named = text.split()
    assert [
        one
        for one in (address.replace("relay-operator", "my-release", 1) for address in found)
        if not any(word.removeprefix("http://").startswith(one) for word in named)
    ] == []


def environment_of(objects: list[Object], name: str) -> Object:
    [container] = pod_of(objects, name)["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


ALL_PODS = (
    "crds.upgradeJob.enabled=true",
    "ledger.enabled=true",
    'operator.shards=[{"name":"eu","tenantSelector":"region=eu"}]',
)
"""Values with which the chart makes every pod that it can make."""


def pods_of(objects: list[Object]) -> dict[str, Object]:
    """Returns what every pod is made of, whatever makes it."""
    makers = {"Pod": ("spec",)} | dict.fromkeys(
        ("Deployment", "Job", "StatefulSet", "DaemonSet"), ("spec", "template", "spec")
    )
    found = {}
    for one in objects:
        if one["kind"] in makers:
            pod: Object = one
            for field in makers[one["kind"]]:
                pod = pod[field]
            found[f"{one['kind']}/{one['metadata']['name']}"] = pod
    assert set(found) == {
        "Deployment/relay-operator",
        "Deployment/relay-operator-eu",
        "Deployment/relay-operator-ledger",
        "Job/relay-operator-crds",
        "Pod/relay-operator-trial",
    }
    return found


def test_an_image_by_digest_is_that_of_all_pods_and_of_the_admission_policy() -> None:
    objects = rendered(f'image.digest="{DIGEST}"', *ALL_PODS)
    image = f"relay-operator@{DIGEST}"
    for name, pod in pods_of(objects).items():
        containers = [*pod["containers"], *pod.get("initContainers", ())]
        assert {one["image"] for one in containers} == {image}, name
    # no other reference to it, by a tag perhaps
    assert "relay-operator:" not in json.dumps(
        [one for one in objects if one["kind"] != "ConfigMap"]
    ).replace("relay-operator:break-glass", "")
    assert environment(objects)["OPERATOR_RELAY_IMAGE"] == image
    bounds = the(objects, "ValidatingAdmissionPolicy", "relay-operator-bounds")
    assert f"one.image == '{image}'" in json.dumps(bounds)


def test_pull_secrets_and_the_pull_policy_are_those_of_every_pod_and_of_the_operator_for_relays() -> (
    None
):
    objects = rendered('image.pullSecrets=["one","two"]', 'image.pullPolicy="Always"', *ALL_PODS)
    for name, pod in pods_of(objects).items():
        assert pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}], name
        assert {one["imagePullPolicy"] for one in pod["containers"]} == {"Always"}, name
    told = environment(objects)
    assert split(
        Settings(image_pull_secrets=told["OPERATOR_IMAGE_PULL_SECRETS"]).image_pull_secrets
    ) == ("one", "two")
    assert told["OPERATOR_RELAY_IMAGE_PULL_POLICY"] == "Always"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("operator.priority=1000", "relay-operator"),
        ("operator.priority=0", None),
        ('operator.priorityClassName="system-cluster-critical"', "system-cluster-critical"),
    ],
)
def test_all_that_is_to_stay_on_a_full_node_has_the_priority(value: str, named: str | None) -> None:
    pods = pods_of(rendered(value, *ALL_PODS))
    staying = {name: pod for name, pod in pods.items() if name.startswith("Deployment/")}
    assert len(staying) == 3
    assert {pod.get("priorityClassName") for pod in staying.values()} == {named}


def test_labels_and_annotations_of_the_platform_are_on_everything_and_in_no_selector() -> None:
    objects = rendered(
        'commonLabels={"team":"platform"}',
        'commonAnnotations={"owner":"x@example.com"}',
        'operator.podLabels={"sidecar":"no"}',
        'operator.podAnnotations={"scan":"yes"}',
        'serviceAccount.annotations={"role":"arn"}',
        "podMonitors.enabled=true",
        "alerts.enabled=true",
        "dashboards.enabled=true",
        "ledger.enabled=true",
        "crds.upgradeJob.enabled=true",
        'operator.shards=[{"name":"eu","tenantSelector":"region=eu"}]',
    )
    # that of the trial's Tenant is adopted, and has what it is adopted by
    for one in (one for one in objects if one["kind"] != "Namespace"):
        metadata = one["metadata"]
        what = (one["kind"], metadata["name"])
        assert metadata["labels"].get("team") == "platform", what
        assert metadata.get("annotations", {}).get("owner") == "x@example.com", what
    template = the(objects, "Deployment", "relay-operator")["spec"]["template"]["metadata"]
    assert template["labels"].items() >= {"team": "platform", "sidecar": "no"}.items()
    assert template["annotations"].items() >= {"owner": "x@example.com", "scan": "yes"}.items()
    assert the(objects, "ServiceAccount", "relay-operator")["metadata"]["annotations"]["role"]
    text = json.dumps([one["spec"].get("selector") for one in objects if "spec" in one])
    assert "team" not in text
    assert "sidecar" not in text


def test_a_platform_says_where_all_pods_run_and_how_the_cluster_is_called() -> None:
    spread = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]
    objects = rendered(
        f"operator.topologySpreadConstraints={json.dumps(spread)}",
        'operator.nodeSelector={"infra":"yes"}',
        'operator.tolerations=[{"key":"infra","operator":"Exists"}]',
        'network.clusterDomain="k8s.example.com"',
        *ALL_PODS,
    )
    assert pod_of(objects)["topologySpreadConstraints"] == spread
    for name, pod in pods_of(objects).items():
        assert pod["nodeSelector"] == {"infra": "yes"}, name
        assert pod["tolerations"] == [{"key": "infra", "operator": "Exists"}], name
    assert Settings(cluster_domain=environment(objects)["OPERATOR_CLUSTER_DOMAIN"])
    assert environment(objects)["OPERATOR_CLUSTER_DOMAIN"] == "k8s.example.com"


def test_pod_monitors_give_the_series_the_labels_that_the_operator_asks_by() -> None:
    objects = rendered(
        "podMonitors.enabled=true",
        'podMonitors.labels={"release":"stack"}',
        "prometheus.scrapeSeconds=0.5",
        'prometheus.job="slo-of-relays"',
        'prometheus.labels={"job":"job","namespace":"k8s_namespace","pod":"k8s_pod"}',
    )
    monitors = {
        one["metadata"]["name"].removeprefix("relay-operator"): one
        for one in objects
        if one["kind"] == "PodMonitor"
    }
    assert set(monitors) == {"", "-relays", "-relays-slo"}
    assert {one["metadata"]["labels"]["release"] for one in monitors.values()} == {"stack"}
    [slo] = monitors["-relays-slo"]["spec"]["podMetricsEndpoints"]
    assert (slo["path"], slo["interval"], slo["scrapeTimeout"]) == (
        "/metrics/slo",
        "500ms",
        "500ms",
    )
    assert slo["honorTimestamps"] is False
    written = {one["targetLabel"]: one for one in slo["relabelings"] if "targetLabel" in one}
    assert written["job"]["replacement"] == "slo-of-relays"
    assert set(written) == {"job", "k8s_namespace", "k8s_pod", "pod_uid", "tenant"}
    selected = monitors["-relays"]["spec"]["selector"]["matchLabels"]
    assert selected.items() <= names.standard_labels("finance").items()


@pytest.mark.parametrize(
    ("monitor", "by", "is_believed"),
    [
        # its series tell of other namespaces than its own
        ("relay-operator", OPERATOR, True),
        # what a relay says of itself counts for nothing
        ("relay-operator-relays", RELAY, False),
        ("relay-operator-relays-slo", RELAY, False),
        ("relay-operator-ledger", LEDGER, False),
    ],
)
def test_series_keep_their_labels_where_the_prometheus_operator_scrapes(
    monitor: str, by: str, is_believed: bool
) -> None:
    objects = rendered("podMonitors.enabled=true", "ledger.enabled=true")
    [scraped] = the(objects, "PodMonitor", monitor)["spec"]["podMetricsEndpoints"]
    assert scraped.get("honorLabels", False) is is_believed
    relabelings = scraped["relabelings"]
    of_targets = SET_BY_THE_PROMETHEUS_OPERATOR | {one.get("targetLabel") for one in relabelings}
    dropped = {one["regex"] for one in relabelings if one["action"] == "labeldrop"}
    of_series = {label for one in exported() if one.by == by for label in one.labels}
    # Prometheus would call such a label of a series exported_...
    assert is_believed or of_series & (of_targets - dropped) == set()


def test_definitions_are_applied_by_an_account_that_exists_for_the_hook_alone(
    tmp_path: Path,
) -> None:
    assert not [one for one in rendered() if one["metadata"]["name"].endswith("-crds")]
    objects = rendered("crds.upgradeJob.enabled=true")
    made = [one for one in objects if one["metadata"]["name"] == "relay-operator-crds"]
    assert len(made) == 6
    for one in made:
        annotations = one["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        policy = set(annotations["helm.sh/hook-delete-policy"].split(","))
        assert policy >= {"before-hook-creation", "hook-succeeded"}
        # a Job that failed stays to be looked at; its rights do not
        assert ("hook-failed" in policy) == (one["kind"] != "Job")
    files = the(objects, "ConfigMap", "relay-operator-crds")["data"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    definitions = crds.read(tmp_path)
    ours = [yaml.safe_load(file.read_text()) for file in sorted((CHART / "crds").glob("*.yaml"))]
    assert list(definitions) == ours
    rules = the(objects, "ClusterRole", "relay-operator-crds")["rules"]
    assert sorted(rules[0]["resourceNames"]) == [one["metadata"]["name"] for one in ours]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "patch", "create"}
    [container] = the(objects, "Job", "relay-operator-crds")["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["command"][:2] == ["relay-operator", "crds"]
    assert command_line.parse(container["command"][1:]) is not None


def test_the_trial_may_touch_its_own_objects_alone_and_selects_no_operator() -> None:
    objects = rendered()
    hooks = [one for one in objects if hook_of(one) == "test"]
    home = next(one for one in hooks if one["kind"] == "Namespace")["metadata"]
    tenant = home["name"].removeprefix(names.NAMESPACE_PREFIX)
    assert home["annotations"][names.ANNOTATION_TENANT] == tenant
    pod = the(objects, "Pod", "relay-operator-trial")
    [container] = pod["spec"]["containers"]
    arguments = dict(zip(container["command"][2::2], container["command"][3::2], strict=True))
    assert arguments["--tenant"] == tenant
    assert command_line.parse(container["command"][1:]) is not None
    for rule in the(objects, "ClusterRole", "relay-operator-trial")["rules"]:
        assert rule["verbs"] == ["create"] or rule["resourceNames"] == [tenant]
    wanted = trial.Trial(
        tenant=tenant, namespace="relay-system", service="s", port=8080, seconds=1.0
    )
    cluster_wide = {
        one["kind"].lower() + "s"
        for one in trial.manifests(wanted)
        if "namespace" not in one["metadata"]
    }
    assert cluster_wide == {"tenants", "providers"}
    service = the(objects, "Service", "relay-operator-trial")["spec"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    operators = the(objects, "Deployment", "relay-operator")["spec"]["selector"]["matchLabels"]
    assert not operators.items() <= pod["metadata"]["labels"].items()


def test_two_releases_have_trials_of_different_names() -> None:
    def home(**where: str) -> str:
        objects = rendered(**where)
        return str(next(one for one in objects if one["kind"] == "Namespace")["metadata"]["name"])

    assert len({home(), home(name="other"), home(space="elsewhere")}) == 3


def test_two_releases_share_no_object_of_the_cluster_but_those_that_refuse_the_second() -> None:
    """Of a binding the role can never be changed, so an API server refuses the second one's, whatever applies it."""
    releases = [("relay-operator", "relay-system"), ("relay-operator", "b"), ("b", "relay-system")]
    found: list[dict[tuple[str, str], Object]] = []
    for name, space in releases:
        objects = rendered("operator.priority=0", name=name, space=space)
        found.append(
            {
                (one["kind"], one["metadata"]["name"]): one
                for one in of_release(objects)
                if "namespace" not in one["metadata"]
            }
        )
    binding = ("ClusterRoleBinding", names.OPERATOR_BINDING)
    for one, other in itertools.combinations(found, 2):
        assert one[binding]["roleRef"] != other[binding]["roleRef"]
        shared = {
            kind: name
            for kind, name in one.keys() & other.keys() - {binding}
            if one[kind, name].get("spec") or one[kind, name].get("subjects")
        }
        assert shared == {}
        assert one["ClusterRole", "relay-tenant"] == other["ClusterRole", "relay-tenant"]
        assert ("ValidatingAdmissionPolicy", "relay-operator-tenant-objects") in found[0]


def test_policies_that_know_the_operator_by_its_name_hold_for_the_release_with_rights_alone() -> (
    None
):
    """Shows why a second release that was applied in part locks nobody out: its account is bound to nothing."""
    objects = rendered(name="second", space="elsewhere")
    asked = "authorizer.serviceAccount('elsewhere', 'second')"
    for one in objects:
        if one["kind"] != "ValidatingAdmissionPolicy":
            continue
        conditions = {
            each["name"]: each["expression"] for each in one["spec"].get("matchConditions", ())
        }
        if "is-not-the-operator" in conditions:
            assert asked in conditions["is-of-the-release-that-operates"]
