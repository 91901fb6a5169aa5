"""The operator and the chart's hooks use each right that the chart grants them, and ask for no other: by the audit logs of everything that ran before.

A part of the tests uses a part of the rights, so without the others only what is asked for is compared.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.config import new_client_from_config
from tests.cluster import cluster_records
from tests.cluster.node.configuration_files import HOOK_ACCOUNTS
from tests.cluster.session.fixtures import tell
from tests.demo import stage
from tests.demo.commands import Cluster, wait_until
from tests.e2e import records, used_rights
from tests.e2e.test_tenancy import apply

pytestmark = pytest.mark.embedded_only

ROLES = {
    "clusterrole/relay-operator": "",
    "clusterrole/relay-operator-tenant": "",
    "role/relay-operator": stage.OPERATOR_NAMESPACE,
}
RARE = {
    "clusterrole/relay-operator: bind clusterroles.rbac.authorization.k8s.io": "no request has this verb: it is asked for "
    "when the RoleBinding is made",
}
"""Rights that no test uses, each with the reason for which it is granted."""
RARE_OF_HOOKS = {
    "clusterrole/relay-operator-crds: create customresourcedefinitions.apiextensions.k8s.io": "of a kind that a later version "
    "adds: helm has installed those of this one",
}
"""The same of the chart's hooks."""
PROVIDER = {"endpoint": {"url": "https://busy.example.com"}, "models": [{"name": "busy"}]}
TOOL_SERVER = {"endpoint": {"url": "http://10.255.255.1/mcp"}}
"""An address that is not asked without egressCIDRs: a look at it takes no time."""
ROUTE = {"match": {"models": ["busy"]}, "stable": {"provider": "busy", "model": "busy"}}
CHANGES: dict[str, list[dict[str, Any]]] = {
    "providers": [{"models": [{"name": name}, {"name": "busy"}]} for name in ("one", "other")],
    "toolservers": [{"onChange": "Accept"}, {"onChange": "Suspend"}],
    "relayroutes": [{"match": {"models": ["busy", name]}} for name in ("one", "other")],
}
"""Specs that an object changes between."""


@pytest.fixture
def log(staged: Cluster) -> Path:
    record = cluster_records.read(staged.name)
    assert record is not None
    return record.audit_log_path


@pytest.fixture
def logs(log: Path) -> list[Path]:
    """Returns the logs of this session and of those before it."""
    kept = (one / records.REQUESTS for one in records.others())
    return [log, *(path for path in kept if path.exists())]


def others_write(cluster: Cluster, log: Path, kind: str, *where: str) -> None:
    """Changes an object's spec, and then annotations without a pause, until the operator has read it to write its status."""
    client = new_client_from_config(str(cluster.kubeconfig))
    path = f"/apis/relay-operator.dev/v1alpha1/{'/'.join((*where[:-1], kind, where[-1]))}"
    read = {(f"{kind}.relay-operator.dev", "get")}
    deadline = time.monotonic() + 60

    def patch(**body: object) -> None:
        parts = client.param_serialize(
            *("PATCH", path),
            header_params={"Content-Type": "application/merge-patch+json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        client.call_api(*parts).read()

    def is_read() -> bool:
        used = used_rights.used(log)
        return read <= {(f"{one.resource}.{one.group}", one.verb) for one in used}

    with client:
        while not is_read():
            assert time.monotonic() < deadline, f"no write of a status of {path} met another"
            for turn in range(3):
                patch(spec=CHANGES[kind][turn % 2])
                for count in range(30):
                    patch(metadata={"annotations": {"example.com/count": str(count)}})


def follows(cluster: Cluster, *where: str) -> None:
    generation = cluster.get(*where)["metadata"]["generation"]
    wait_until(
        "a status of the newest spec",
        lambda: cluster.get(*where)["status"].get("observedGeneration"),
        generation.__eq__,
        seconds=30,
    )


@pytest.mark.timeout(300)
def test_a_status_is_written_while_others_write(staged: Cluster, log: Path) -> None:
    apply(staged, "Provider", "busy", PROVIDER)
    apply(staged, "Tenant", "busy", {})
    staged.kubectl("wait", "tenant/busy", "--for=condition=Ready", "--timeout=90s")
    apply(staged, "RelayRoute", "busy", ROUTE, "relay-busy")
    apply(staged, "ToolServer", "busy", TOOL_SERVER)
    others_write(staged, log, "providers", "busy")
    others_write(staged, log, "toolservers", "busy")
    others_write(staged, log, "relayroutes", "namespaces", "relay-busy", "busy")
    for where in (
        ("provider", "busy"),
        ("toolserver", "busy"),
        ("relayroute", "busy", "-n", "relay-busy"),
    ):
        follows(staged, *where)
    staged.kubectl("delete", "tenant/busy", "provider/busy", "toolserver/busy", "--wait=false")


def test_the_operator_asks_for_nothing_that_no_rule_grants(
    logs: list[Path], staged: Cluster
) -> None:
    granted = used_rights.granted(staged, ROLES)
    assert [request for log in logs for request in used_rights.refused(log, granted)] == []


def test_the_operator_uses_every_right_that_it_has(
    logs: list[Path], staged: Cluster, request: pytest.FixtureRequest
) -> None:
    granted = used_rights.granted(staged, ROLES)
    # everybody may ask for the API's description, through roles of the cluster's own
    used = {right for log in logs for right in used_rights.used(log) if right.role in ROLES}
    unused = {str(one) for one in granted - used} - RARE.keys()
    tell(request.config, f"  {len(granted)} rights, {len(granted & used)} of them used")
    assert {str(one) for one in used - granted} == set()
    assert {one for one in RARE if one in {str(right) for right in used}} == set()
    if everything_ran(request):
        assert unused == set()
    else:
        tell(request.config, f"  not used by these tests: {'; '.join(sorted(unused)) or 'none'}")


def hook_roles(cluster: Cluster) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yields the roles of the chart's hooks, which exist only while these run, with their rules."""
    made = cluster.helm(
        "template", "relay-operator", str(stage.CHART), "--namespace", stage.OPERATOR_NAMESPACE,
        "--set", "crds.upgradeJob.enabled=true",
    )  # fmt: skip
    for one in yaml.safe_load_all(made):
        is_hook = "helm.sh/hook" in (((one or {}).get("metadata") or {}).get("annotations") or {})
        if is_hook and one["kind"] in ("ClusterRole", "Role"):
            yield f"{one['kind'].lower()}/{one['metadata']['name']}", one["rules"]


def test_hooks_use_every_right_that_they_have_and_ask_for_no_other(
    logs: list[Path], staged: Cluster, request: pytest.FixtureRequest
) -> None:
    roles = dict(hook_roles(staged))
    assert roles.keys() == HOOK_ACCOUNTS.keys()
    # the trial has those of a tenant's people, too
    shared = used_rights.granted(staged, {"clusterrole/relay-tenant": ""})
    for role, account in HOOK_ACCOUNTS.items():
        granted = used_rights.of_rules(role, roles[role])
        refused = [
            one for log in logs for one in used_rights.refused(log, granted | shared, account)
        ]
        assert refused == []
        used = {one for log in logs for one in used_rights.used(log, account) if one.role == role}
        tell(request.config, f"  {role}: {len(granted)} rights, {len(used)} of them used")
        assert {str(one) for one in used - granted} == set()
        # a hook uses all of them whenever it runs
        unused = {str(one) for one in granted - used} if used else set()
        assert unused == {one for one in RARE_OF_HOOKS if used and one.startswith(f"{role}:")}
        assert used or not everything_ran(request)


def everything_ran(request: pytest.FixtureRequest) -> bool:
    files = {path.name for path in Path(__file__).parents[1].glob("test_*.py")}
    return files <= {item.path.name for item in request.session.items} | records.ran()
