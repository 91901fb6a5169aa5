"""The chart of an earlier version, installed in place of this one, so that the way of an upgrade can be gone.

`previous/relay-operator.tgz` is the chart alone, as commit baaefd1 has it: the first with two operators. It is renewed once an
upgrade from it is supported no longer, from the commit or tag that upgrades are to begin at:

    git archive --format=tgz --prefix=relay-operator/ -o tests/e2e/previous/relay-operator.tgz COMMIT:charts/relay-operator

The images are those of this checkout, since building an earlier one costs minutes: what an earlier operator wrote otherwise
(documents, status) is not shown here, but by the tests that read stored forms. They watch kinds that the earlier chart has no rights
to, as no operator of its version did, so these rights are granted beside it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.demo import stage
from tests.demo.commands import Cluster
from tests.e2e import releases

PREVIOUS: Final = Path(__file__).resolve().parent / "previous" / "relay-operator.tgz"
NEWER_KINDS: Final = ("toolservers",)
_NEWER: Final = "reads-newer-kinds"

Values = Mapping[str, object]
"""Values of a chart by their path."""


def go_back(cluster: Cluster, values: Values) -> int:
    """Installs the earlier chart with the values of the release and these, as if it had never been upgraded.

    Returns the revision that was in force.
    """
    before = releases.revision(cluster)
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(_newer_rights()))
    _upgrade(cluster, PREVIOUS, values)
    return before


def return_to(cluster: Cluster, revision: int) -> None:
    """Brings back the revision that was in force, whose chart grants all that is needed."""
    releases.roll_back(cluster, revision)
    for kind in ("clusterrole", "clusterrolebinding"):
        cluster.kubectl("delete", kind, _NEWER)


def upgrade(cluster: Cluster, values: Values) -> None:
    """Upgrades to this checkout's chart as the README says: custom resources first, then the release."""
    crds = sorted((stage.CHART / "crds").glob("*.yaml"))
    files = [part for crd in crds for part in ("-f", str(crd))]
    cluster.kubectl("apply", "--server-side", "--force-conflicts", *files)
    _upgrade(cluster, stage.CHART, values)


def _upgrade(cluster: Cluster, chart: Path, values: Values) -> None:
    sets = [f"{path}={json.dumps(value)}" for path, value in values.items()]
    cluster.helm(
        "upgrade", *releases.RELEASE, str(chart), "--reset-then-reuse-values",
        *(word for one in sets for word in ("--set-json", one)),
        "--wait", "--timeout", "110s",
    )  # fmt: skip


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
