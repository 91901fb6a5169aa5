"""The chart of an earlier version, installed in place of this one, so that the way of an upgrade can be gone.

`previous/relay-operator.tgz` is the chart alone, as commit baaefd1 has it: the first with two operators. It is renewed once an
upgrade from it is supported no longer, from the commit or tag that upgrades are to begin at:

    git archive --format=tgz --prefix=relay-operator/ -o tests/e2e/previous/relay-operator.tgz COMMIT:charts/relay-operator

The images are those of this checkout, since building an earlier one costs minutes: what an earlier operator wrote otherwise
(documents, status) is not shown here, but by the tests that read stored forms. They watch kinds that the earlier chart has no rights
to, as no operator of its version did, so these rights are granted beside it.
"""

import json
from pathlib import Path
from typing import Final

from tests.demo import stage
from tests.demo.commands import Cluster

PREVIOUS: Final = Path(__file__).resolve().parent / "previous" / "relay-operator.tgz"
NEWER_KINDS: Final = ("toolservers",)
_NEWER: Final = "reads-newer-kinds"
_RELEASE: Final = ("upgrade", "relay-operator")
_HOW: Final = (
    *("--namespace", stage.OPERATOR_NAMESPACE, "--reset-then-reuse-values"),
    *("--wait", "--timeout", "110s"),
)


def go_back(cluster: Cluster) -> None:
    """Installs the earlier chart with the values of the release, as if it had never been upgraded."""
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(_newer_rights()))
    cluster.helm(*_RELEASE, str(PREVIOUS), *_HOW)


def stay(cluster: Cluster) -> None:
    """Upgrades for good: the chart grants all that is needed."""
    upgrade(cluster)
    for kind in ("clusterrole", "clusterrolebinding"):
        cluster.kubectl("delete", kind, _NEWER)


def upgrade(cluster: Cluster) -> None:
    """Upgrades to this checkout's chart as the README says: custom resources first, then the release."""
    crds = sorted((stage.CHART / "crds").glob("*.yaml"))
    files = [part for crd in crds for part in ("-f", str(crd))]
    cluster.kubectl("apply", "--server-side", "--force-conflicts", *files)
    cluster.helm(*_RELEASE, str(stage.CHART), *_HOW)


def roll_back(cluster: Cluster) -> None:
    """Takes the last upgrade back as Helm does it: the former chart and its values, and the custom resources as they are."""
    revision = ("rollback", "relay-operator", "--namespace", stage.OPERATOR_NAMESPACE)
    cluster.helm(*revision, "--wait", "--timeout", "110s")


def _newer_rights() -> dict[str, object]:
    metadata = {"name": _NEWER}
    group = "rbac.authorization.k8s.io"
    rule = {
        "apiGroups": ["relay-operator.dev"],
        "resources": list(NEWER_KINDS),
        "verbs": ["get", "list", "watch"],
    }
    account = {
        "kind": "ServiceAccount",
        "name": "relay-operator",
        "namespace": stage.OPERATOR_NAMESPACE,
    }
    role = {"apiGroup": group, "kind": "ClusterRole", "name": _NEWER}
    version = f"{group}/v1"
    items = [
        {"apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "subjects": [account],
            "roleRef": role,
        },
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}
