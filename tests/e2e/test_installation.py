"""The chart on a real cluster: what its notes say works as pasted, its test sends a call, a second release is refused, custom
resource definitions are brought up to date, and the operator can go and come back, under another name too, without a lost call.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.demo import stage
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.e2e import leaders, notes
from tests.e2e.notes import RELEASE
from tests.e2e.test_continuity import RELAYS, climbing, loaded, losses, relay_pods
from tests.e2e.test_tenancy import apply

__all__ = ["loaded"]

SPACE = stage.OPERATOR_NAMESPACE
DEFINITION = ("crd", "providers.relay-operator.dev")
SOURCES = stage.ROOT / "operator"
LEFT = "left-behind"
BESIDE = ("helm-test", "-crds", "-trial")
"""Parts of the names of what a hook makes and removes."""


def left_by_hooks(cluster: Cluster) -> list[str]:
    kinds = "clusterroles,clusterrolebindings,namespaces,tenants,providers.relay-operator.dev"
    listed = cluster.kubectl("get", kinds, "-o", "name")
    listed += cluster.kubectl("get", "pods,jobs,sa,cm,svc,netpol", "-n", SPACE, "-o", "name")
    return [name for name in listed.split() if any(part in name for part in BESIDE)]


@pytest.mark.timeout(300)
def test_the_commands_of_the_notes_work_as_pasted_and_the_test_leaves_nothing(
    staged: Cluster,
) -> None:
    pasted = notes.commands(notes.of(staged))
    assert [one[:2] for one in pasted] == [
        ["kubectl", "-n"],
        ["helm", "test"],
        ["kubectl", "get"],
        ["kubectl", "explain"],
        ["kubectl", "apply"],
    ]
    for program, *arguments in pasted:
        said = staged.helm(*arguments) if program == "helm" else staged.kubectl(*arguments)
        if arguments[0] == "test":
            assert re.search(
                r"TEST SUITE: +relay-operator-trial\n(?:.*\n)*?Phase: +Succeeded", said
            )
    gone = wait_until(
        "nothing of the test", lambda: left_by_hooks(staged), lambda seen: not seen, seconds=60
    )
    assert gone == []


def test_a_second_release_is_refused_in_words(staged: Cluster) -> None:
    for name, space in (("second", "elsewhere"), ("relay-operator", "elsewhere")):
        with pytest.raises(DemoFailed) as refused:
            staged.helm("install", name, str(stage.CHART), "-n", space, "--create-namespace")
        said = str(refused.value)
        assert "a Relay Operator is installed in this cluster: it is release relay-operator" in said
        assert "operator.shards" in said
    staged.kubectl("delete", "namespace", "elsewhere", "--ignore-not-found", "--wait=false")


def waits(cluster: Cluster, space: str) -> str:
    """Returns why the operator of a namespace waits, by its log; empty if it does not."""
    lines = cluster.kubectl(
        *("logs", "-n", space, "-l", "app.kubernetes.io/name=relay-operator"),
        *("--tail=20", "--ignore-errors"),
    ).splitlines()
    said = [json.loads(line) for line in lines if line.startswith("{")]
    return next((one["why"] for one in said if "lacks" in one["message"]), "")


@pytest.mark.timeout(240)
def test_a_second_release_that_is_applied_without_helm_changes_nothing(staged: Cluster) -> None:
    values = json.loads(staged.helm("get", "values", *RELEASE, "-o", "json"))
    image = [f"image.{name}={value}" for name, value in values["image"].items()]
    sets = [part for one in (*image, "operator.priority=0") for part in ("--set", one)]
    staged.kubectl("create", "namespace", "elsewhere")
    try:
        what = ("second", str(stage.CHART), "-n", "elsewhere", "--no-hooks")
        second = staged.helm("template", *what, *sets)
        with pytest.raises(DemoFailed) as refused:
            staged.kubectl("apply", "-n", "elsewhere", "-f", "-", stdin=second)
        assert "relay-operator-one-per-cluster" in str(refused.value)
        assert "cannot change roleRef" in str(refused.value)
        why = wait_until(
            "an operator that says why it waits",
            lambda: waits(staged, "elsewhere"),
            bool,
            seconds=90,
        )
        assert "system:serviceaccount:elsewhere:second" in why
        assert "kubectl describe clusterrolebinding relay-operator-one-per-cluster" in why
        pods = staged.get("pods", "-n", "elsewhere")["items"]
        conditions = {c["type"]: c["status"] for one in pods for c in one["status"]["conditions"]}
        assert conditions["Ready"] == "False"
        # the one that is there goes on, in tenants' namespaces too
        apply(staged, "Tenant", LEFT, {})
        staged.kubectl("wait", f"tenant/{LEFT}", "--for=condition=Ready", "--timeout=90s")
        staged.break_glass("delete", "configmap", "relay-document", "-n", f"relay-{LEFT}")
        wait_until(
            "the ConfigMap, made again",
            lambda: staged.kubectl("get", "configmaps", "-n", f"relay-{LEFT}", "-o", "name"),
            lambda listed: "relay-document" in listed,
            seconds=30,
        )
        assert staged.get("leases", "-n", "elsewhere")["items"] == []
    finally:
        mine = ("-l", "app.kubernetes.io/instance=second", "--ignore-not-found")
        policies = "validatingadmissionpolicies,validatingadmissionpolicybindings"
        staged.kubectl("delete", policies, *mine)
        staged.kubectl("delete", "clusterrole", "second.elsewhere", "second-tenant")
        staged.kubectl("delete", "namespace", "elsewhere", "--wait=false")
        how = ("--reset-then-reuse-values", "--wait", "--timeout", "110s")
        staged.helm("upgrade", RELEASE[0], str(stage.CHART), *RELEASE[1:], *how)


def description(cluster: Cluster) -> str:
    schema = cluster.get(*DEFINITION)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return str(schema["description"])


@pytest.mark.timeout(240)
def test_an_upgrade_brings_the_definitions_up_to_date_by_a_job_that_leaves_no_rights(
    staged: Cluster,
) -> None:
    now = description(staged)
    # as an earlier version had it, and as Helm leaves it
    path = "/spec/versions/0/schema/openAPIV3Schema/description"
    patch = json.dumps([{"op": "replace", "path": path, "value": "What an earlier version said."}])
    staged.kubectl("patch", *DEFINITION, "--type=json", "-p", patch)
    how = ("upgrade", RELEASE[0], str(stage.CHART), *RELEASE[1:], "--reset-then-reuse-values")
    staged.helm(*how, "--wait", "--timeout", "110s")
    assert description(staged) == "What an earlier version said."
    staged.helm(*how, "--set", "crds.upgradeJob.enabled=true", "--wait", "--timeout", "110s")
    assert description(staged) == now
    assert left_by_hooks(staged) == []
    staged.helm(*how, "--set", "crds.upgradeJob.enabled=false", "--wait", "--timeout", "110s")


def route(cluster: Cluster) -> dict[str, Any]:
    """Returns the status of the route chat."""
    found: dict[str, Any] = cluster.get("relayroute", "chat", "-n", RELAYS).get("status", {})
    return found


def phase(cluster: Cluster) -> str:
    return str(route(cluster).get("phase"))


def weight(cluster: Cluster) -> int:
    return int(route(cluster).get("weights", {}).get("canaryPercent", 0))


def release(cluster: Cluster, tenant: str) -> str:
    """Runs relay-operator release as a person does who has the program and a kubeconfig."""
    done = subprocess.run(
        [sys.executable, "-m", "relay_operator.main", "release", tenant],
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def values(loaded: Cluster) -> Iterator[dict[str, Any]]:
    """Returns the values of the release, under which it is there again afterwards, whatever came between."""
    found: dict[str, Any] = json.loads(loaded.helm("get", "values", *RELEASE, "-o", "json"))
    yield found
    if RELEASE[0] not in loaded.helm("list", "-n", SPACE, "-q").split():
        install(loaded, found)


def install(cluster: Cluster, values: dict[str, Any]) -> None:
    sets = [
        part for name in values for part in ("--set-json", f"{name}={json.dumps(values[name])}")
    ]
    cluster.helm(
        "install", RELEASE[0], str(stage.CHART), *RELEASE[1:], *sets, "--wait", "--timeout", "110s"
    )


@pytest.mark.timeout(400)
def test_calls_go_on_while_the_operator_is_uninstalled_and_installed_anew(
    loaded: Cluster, values: dict[str, Any]
) -> None:
    apply(loaded, "Tenant", LEFT, {})
    loaded.kubectl("wait", f"tenant/{LEFT}", "--for=condition=Ready", "--timeout=90s")
    apply(loaded, "RelayRoute", "chat", climbing(), RELAYS)
    wait_until("20 %", lambda: weight(loaded), lambda seen: seen >= 20, seconds=90)
    before, pods = losses(loaded), relay_pods(loaded)
    loaded.helm("uninstall", *RELEASE, "--wait", "--timeout", "110s")
    assert "Terminating" not in loaded.kubectl("get", "namespaces")
    reached = weight(loaded)
    # without an operator, the deletion of a Tenant waits for the command
    loaded.kubectl("delete", "tenant", LEFT, "--wait=false")
    assert loaded.get("tenant", LEFT)["metadata"]["deletionTimestamp"]
    assert f"tenant {LEFT}: released" in release(loaded, LEFT)
    loaded.kubectl("wait", "--for=delete", f"tenant/{LEFT}", "--timeout=30s")
    loaded.kubectl("wait", "--for=delete", f"namespace/relay-{LEFT}", "--timeout=90s")
    assert losses(loaded) == before
    assert weight(loaded) == reached
    install(loaded, values)
    leaders.leader(loaded)
    loaded.kubectl("wait", "tenant/finance", "--for=condition=Ready", "--timeout=90s")
    wait_until(
        "a Tenant that the new operator has looked at",
        lambda: loaded.get("tenant", "finance")["status"].get("observedGeneration"),
        loaded.get("tenant", "finance")["metadata"]["generation"].__eq__,
        seconds=60,
    )
    wait_until("the promotion", lambda: phase(loaded), "Promoted".__eq__, seconds=120)
    assert losses(loaded) == before
    assert relay_pods(loaded) == pods
    made = [(one["reason"], one.get("canaryPercent")) for one in route(loaded)["history"]]
    steps = [percent for reason, percent in made if reason == "StepPassed"]
    # each step once, in their order; the history keeps the latest
    assert steps == list(range(steps[0], 101, 10)), made
