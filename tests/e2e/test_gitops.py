"""A repository as the source of a tenant: applied again and again it changes nothing, by two tools at once too; and it comes back from a backup."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.demo import stage
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.ecosystem.kinds import defined

Body = dict[str, Any]

NAME, SPACE = "versioned", "relay-versioned"
API_VERSION = "relay-operator.dev/v1alpha1"
LABEL = "example.com/repository"
PATIENCE_SECONDS = 90.0
CHILDREN = ("core/v1/ConfigMap", "core/v1/Secret", "core/v1/Service", "apps/v1/Deployment")
"""Kinds that are pruned too, of which the repository holds none."""
IN_SPACE = (
    "configmaps,secrets,services,deployments,networkpolicies,serviceaccounts,rolebindings,"
    "poddisruptionbudgets,resourcequotas,limitranges,pods,relayroutes"
)
VELERO = ("--as=system:serviceaccount:velero:velero", "--as-group=system:masters")
"""The account of Velero's server, which may do everything in the cluster."""
OF_PLATFORM: dict[str, Body] = {
    "Provider": {"endpoint": {"url": "https://versioned.example.com"}},
    # an address that is not asked without egressCIDRs: a look at it takes no time
    "ToolServer": {"endpoint": {"url": "http://10.255.255.1/mcp"}},
    "PriceList": {
        "currency": "USD",
        "models": [
            {"name": "gpt-4.1", "provider": "", "prices": [{"perMillionTokens": {"input": "2"}}]}
        ],
    },
}
"""Kinds of the whole cluster beside the Tenant, with specs."""
EXEMPT = "--as-group=relay-operator:break-glass"
"""With the same effect as the chart's admission.exemptGroups, by which the platform lets Velero restore tenants' namespaces."""


def repository() -> list[Body]:
    """Returns what the repository holds, an object of each kind, with the label by which tools know what is theirs."""
    labels = {LABEL: "tenants"}
    offered = {
        "name": SPACE,
        "annotations": {"relay-operator.dev/tenant": NAME},
        "labels": labels | {"pod-security.kubernetes.io/enforce": "restricted"},
    }
    network = {"allowFrom": [{"namespace": "web"}]}
    tenant = {"namespacePolicy": "Adopt", "network": network, "limits": {"burstSeconds": 20}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": offered},
        {
            "apiVersion": API_VERSION,
            "kind": "Tenant",
            "metadata": {"name": NAME, "labels": labels},
            "spec": tenant,
        },
        {
            "apiVersion": API_VERSION,
            "kind": "RelayRoute",
            "metadata": {"name": "chat", "namespace": SPACE, "labels": labels},
            "spec": {"match": {"models": ["gpt-4.1"]}, "stable": {"provider": "legacy"}},
        },
        *(
            {
                "apiVersion": API_VERSION,
                "kind": kind,
                "metadata": {"name": NAME, "labels": labels},
                "spec": spec,
            }
            for kind, spec in OF_PLATFORM.items()
        ),
    ]


def listed(bodies: Sequence[Body]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(bodies)})


def apply_as(cluster: Cluster, manager: str, bodies: Sequence[Body], *more: str) -> None:
    """Applies as a tool that applies on the server's side."""
    command = ("apply", "--server-side", f"--field-manager={manager}", "-f", "-")
    cluster.kubectl(*command, *more, stdin=listed(bodies))


def server_side(cluster: Cluster) -> None:
    """Applies the repository as Argo CD and as Flux do, which then own the same fields."""
    apply_as(cluster, "argocd-controller", repository(), "--force-conflicts")
    apply_as(cluster, "kustomize-controller", repository(), "--force-conflicts")


def with_pruning(cluster: Cluster) -> None:
    """Applies the repository as kubectl does, and has everything pruned that carries its label and is not in it."""
    prune = ("--prune", "-l", f"{LABEL}=tenants")
    kinds = ("core/v1/Namespace", *(f"{API_VERSION}/{kind}" for kind in defined()))
    allowed = [f"--prune-allowlist={kind}" for kind in (*kinds, *CHILDREN)]
    cluster.kubectl("apply", *prune, *allowed, "-f", "-", stdin=listed(repository()))


def versions(cluster: Cluster) -> dict[str, tuple[str, str, int | None]]:
    """Returns UID, version and generation of everything of the repository and of the tenant. A change of any kind would show in them."""
    found = [cluster.get("tenant", NAME), cluster.get("namespace", SPACE)]
    found += [cluster.get(f"{kind.lower()}.relay-operator.dev", NAME) for kind in OF_PLATFORM]
    found += cluster.get(IN_SPACE, "-n", SPACE)["items"]
    return {
        f"{one['kind']}/{one['metadata']['name']}": (
            one["metadata"]["uid"],
            one["metadata"]["resourceVersion"],
            one["metadata"].get("generation"),
        )
        for one in found
    }


def ready(cluster: Cluster) -> None:
    cluster.kubectl("wait", f"tenant/{NAME}", "--for=condition=Ready", "--timeout=90s")
    route = ("wait", "relayroute/chat", "-n", SPACE, "--timeout=60s")
    cluster.kubectl(*route, "--for=condition=Ready")


@pytest.fixture(scope="module")
def versioned(staged: Cluster) -> Iterator[Cluster]:
    """Applies the repository for the first time, in one go."""
    staged.kubectl("apply", "-f", str(stage.EXAMPLES / "01-first-tenant" / "providers.yaml"))
    apply_as(staged, "argocd-controller", repository())
    ready(staged)
    yield staged
    staged.kubectl("delete", "tenant", NAME, "--ignore-not-found", "--timeout=60s")
    for kind in OF_PLATFORM:
        name = f"{kind.lower()}.relay-operator.dev/{NAME}"
        staged.kubectl("delete", name, "--ignore-not-found", "--timeout=60s")
    staged.kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--wait=false")


def settled(cluster: Cluster) -> dict[str, tuple[str, str, int | None]]:
    """Waits until nothing has changed for some seconds."""
    quiet: dict[str, Any] = {"seen": {}, "since": time.monotonic()}

    def seconds() -> float:
        seen = versions(cluster)
        if seen != quiet["seen"]:
            quiet.update(seen=seen, since=time.monotonic())
        return time.monotonic() - float(quiet["since"])

    wait_until("quiet", seconds, lambda since: since > 6, seconds=PATIENCE_SECONDS, every=0.5)
    seen: dict[str, tuple[str, str, int | None]] = quiet["seen"]
    return seen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("tool", [server_side, with_pruning])
def test_a_repository_that_is_applied_again_and_again_changes_nothing(
    versioned: Cluster, tool: Callable[[Cluster], None]
) -> None:
    assert {one["kind"] for one in repository()} >= defined().keys()
    # the first time it becomes a manager of the fields
    tool(versioned)
    before = settled(versioned)
    assert len(before) > 17
    for _ in range(3):
        tool(versioned)
        time.sleep(1)
    assert versions(versioned) == before


@pytest.mark.timeout(300)
def test_two_managers_share_an_object_without_a_fight(versioned: Cluster) -> None:
    metadata = {"name": NAME}
    limits = {"limits": {"requestsPerMinute": 600}}
    own = {"apiVersion": API_VERSION, "kind": "Tenant", "metadata": metadata, "spec": limits}
    apply_as(versioned, "on-call", [own])
    apply_as(versioned, "argocd-controller", repository())
    told = versioned.get("tenant", NAME)
    assert told["spec"]["limits"] == {"burstSeconds": 20, "requestsPerMinute": 600}
    effective = ("--for=jsonpath={.status.effective.limits.requestsPerMinute}=600", "--timeout=60s")
    versioned.kubectl("wait", f"tenant/{NAME}", *effective)
    # one field of two owners is refused with both names, and never taken back and forth
    with pytest.raises(
        DemoFailed, match=r'(?s)conflict.* with "argocd-controller".*spec.limits.burst'
    ):
        apply_as(versioned, "on-call", [own | {"spec": {"limits": {"burstSeconds": 5}}}])
    apply_as(versioned, "on-call", [own | {"spec": {}}])
    assert versioned.get("tenant", NAME)["spec"]["limits"] == {"burstSeconds": 20}


_RESTORED = {"Secret": 0, "ConfigMap": 0, "RelayRoute": 2}
"""Velero's order: namespaces, then Secrets and what else pods need, custom resources last."""


def backup(cluster: Cluster) -> list[Body]:
    """Returns everything of the tenant as a restore creates it: without what the API server gives an object, and without status."""
    kinds = IN_SPACE.replace("pods,", "")
    inside = cluster.get(kinds, "-n", SPACE)["items"]
    found = [
        cluster.get("namespace", SPACE),
        *sorted(inside, key=lambda one: _RESTORED.get(one["kind"], 1)),
        cluster.get("tenant", NAME),
    ]
    for body in found:
        body.pop("status", None)
        for field in ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"):
            body["metadata"].pop(field, None)
        for address in ("clusterIP", "clusterIPs"):
            body.get("spec", {}).pop(address, None)
    return found


def key(cluster: Cluster) -> str:
    secret = cluster.get("secret", "relay-api-keys", "-n", SPACE)
    return str(secret["data"]["default"])


@pytest.mark.timeout(300)
def test_a_restore_with_new_uids_brings_the_tenant_back(versioned: Cluster) -> None:
    saved, before = backup(versioned), key(versioned)
    uids = {name: one[0] for name, one in versions(versioned).items()}
    versioned.kubectl("delete", "tenant", NAME, "--timeout=60s")
    versioned.kubectl("delete", "namespace", SPACE, "--timeout=90s")
    refused = []
    for body in saved:
        who = VELERO if body["kind"] in ("Namespace", "Tenant", "RelayRoute") else (*VELERO, EXEMPT)
        if body["kind"] == "Secret":
            with pytest.raises(DemoFailed, match="is kept by the relay-operator alone"):
                versioned.kubectl(*VELERO, "create", "-f", "-", stdin=json.dumps(body))
        try:
            versioned.kubectl(*who, "create", "-f", "-", stdin=json.dumps(body))
        except DemoFailed as error:
            # the operator makes its own objects anew, perhaps before the restore comes to them
            refused.append((body["kind"], body["metadata"]["name"], str(error)))
    print("\nnot restored:", *refused, sep="\n")
    ready(versioned)
    assert key(versioned) == before
    now = versions(versioned)
    kept = {f"{kind}/{NAME}" for kind in OF_PLATFORM}
    assert {name for name in now if now[name][0] == uids.get(name)} == kept
    assert now.keys() >= {name for name in uids if not name.startswith("Pod/")}
