"""Reading an audit log: which right of which role each of the operator's requests used."""

import json
from pathlib import Path
from typing import Any

from tests.cluster.node.configuration_files import HOOK_ACCOUNTS, OPERATOR_ACCOUNT
from tests.e2e.used_rights import Right, refused, used

POD = "authentication.kubernetes.io/pod-name"


def event(verb: str, resource: str, *, user: str = OPERATOR_ACCOUNT, **more: Any) -> str:
    reason = f'RBAC: allowed by RoleBinding "relay-operator/relay-a" of ClusterRole "tenant" to ServiceAccount "{user}"'
    return json.dumps(
        {
            "verb": verb,
            "user": {"username": user, "extra": more.pop("extra", {POD: ["relay-operator-0"]})},
            "userAgent": more.pop("agent", "relay-operator/1.0"),
            "requestURI": f"/api/v1/{resource}?limit=1",
            "objectRef": {"resource": resource, "apiGroup": "apps"} | more.pop("about", {}),
            "responseStatus": {"code": more.pop("code", 200)},
            "annotations": {
                "authorization.k8s.io/decision": more.pop("decision", "allow"),
                "authorization.k8s.io/reason": reason,
            },
        }
    )


def written(path: Path, *lines: str) -> Path:
    log = path / "audit.log"
    log.write_text("\n".join(lines) + "\n")
    return log


def test_a_request_uses_the_right_of_the_role_that_allowed_it(tmp_path: Path) -> None:
    log = written(
        tmp_path,
        event("get", "deployments"),
        event("patch", "deployments", about={"subresource": "status"}),
        event("delete", "pods", user="system:serviceaccount:other:relay-operator"),
    )
    assert used(log) == {
        Right("clusterrole/tenant", "apps", "deployments", "get"),
        Right("clusterrole/tenant", "apps", "deployments/status", "patch"),
    }


def test_a_hook_has_an_account_of_its_own(tmp_path: Path) -> None:
    hook = HOOK_ACCOUNTS["clusterrole/relay-operator-trial"]
    log = written(
        tmp_path,
        event("create", "tenants", user=hook),
        event("delete", "nodes", user=hook, decision="forbid", code=403),
        event("get", "deployments"),
    )
    assert {one.resource for one in used(log, hook)} >= {"tenants"}
    assert "deployments" not in {one.resource for one in used(log, hook)}
    assert refused(log, [], hook) == ["delete /api/v1/nodes"]
    assert refused(log, []) == []


def test_what_is_applied_and_did_not_exist_was_created_too(tmp_path: Path) -> None:
    log = written(tmp_path, event("patch", "deployments", code=201))
    assert {one.verb for one in used(log)} == {"patch", "create"}


def test_what_was_asked_for_and_no_rule_grants_is_told(tmp_path: Path) -> None:
    log = written(
        tmp_path,
        event("list", "secrets", decision="forbid", code=403),
        # a test tries what a stolen token allows
        event("create", "pods", decision="forbid", code=403, extra={}),
        event("create", "pods", decision="forbid", code=403, agent="kubectl/v1.36.0 (linux/amd64)"),
        # its role is bound in a moment
        event("get", "deployments", decision="forbid", code=403),
    )
    rights = [Right("clusterrole/tenant", "apps", "deployments", "get")]
    assert refused(log, rights) == ["list /api/v1/secrets"]
