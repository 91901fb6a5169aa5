"""The rights that the chart grants the operator and its hooks, and those of them that the API server's audit log shows in use."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.node.configuration_files import OPERATOR_ACCOUNT
from tests.demo.commands import Cluster
from tests.growing_files import whole_lines

_REASON = re.compile(r'of (?P<kind>ClusterRole|Role) "(?P<role>[^"]+)" to ServiceAccount')
"""Of the authorizer's words in an event: RBAC: allowed by RoleBinding "a/b" of ClusterRole "c" to ServiceAccount "d"."""

_POD = "authentication.kubernetes.io/pod-name"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource, by the role that grants it. resource has the subresource, as rules have it."""

    role: str
    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.role}: {self.verb} {self.resource}{f'.{self.group}' if self.group else ''}"


def granted(cluster: Cluster, roles: Mapping[str, str]) -> set[Right]:
    """Returns the rights of the roles, given by kind/name, with the namespace of a Role."""
    return {
        right
        for name, space in roles.items()
        for right in of_rules(name, cluster.get(name, *(("-n", space) if space else ()))["rules"])
    }


def of_rules(role: str, rules: Iterable[Mapping[str, Any]]) -> set[Right]:
    """Returns the rights of a role's rules; role is kind/name."""
    return {
        Right(role.lower(), group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(log: Path, account: str = OPERATOR_ACCOUNT) -> set[Right]:
    """Returns the rights that the operator, or another account, has used, by the role through which each was granted."""
    return {right for event in events(log, account) for right in _rights(event)}


def refused(log: Path, rights: Iterable[Right], account: str = OPERATOR_ACCOUNT) -> list[str]:
    """Returns what the operator, or another account, asked for and no rule of its roles grants.

    What one grants is refused too: before a role is bound in a new namespace, and after the release was uninstalled. What tests ask
    for with a token of its account is not the operator's: that comes from its pods.
    """
    known = {(one.group, one.resource, one.verb) for one in rights}
    return sorted(
        {
            f"{event['verb']} {event['requestURI'].partition('?')[0]}"
            for event in events(log, account)
            if event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
            and _POD in event["user"].get("extra", {})
            and (*_about(event), event["verb"]) not in known
        }
    )


def events(log: Path, account: str = OPERATOR_ACCOUNT) -> Iterator[dict[str, Any]]:
    """Goes through what the log has of an account, the operator's if none is named; with its token, tests use kubectl, which the operator never does."""
    for line in lines(log):
        event = json.loads(line)
        by_hand = event.get("userAgent", "").startswith("kubectl/")
        if event["user"]["username"] == account and not by_hand:
            yield event


def lines(log: Path) -> Iterator[str]:
    """Goes through the lines of the log that name the operator's account, or one of a hook, which begins so."""
    # a large log is put aside, under its name and the time
    for part in sorted(log.parent.glob(f"{log.stem}*{log.suffix}")):
        yield from (line for line in whole_lines(part) if OPERATOR_ACCOUNT in line)


def _about(event: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the group, and the resource as rules have it; empty ones for what is no resource."""
    about = event.get("objectRef") or {}
    part = about.get("subresource")
    return about.get("apiGroup", ""), about.get("resource", "") + (f"/{part}" if part else "")


def _rights(event: Mapping[str, Any]) -> Iterable[Right]:
    reason = event.get("annotations", {}).get("authorization.k8s.io/reason", "")
    found = _REASON.search(reason)
    group, resource = _about(event)
    if found is None or not resource:
        return
    role = f"{found['kind'].lower()}/{found['role']}"
    yield Right(role, group, resource, event["verb"])
    is_new = event.get("responseStatus", {}).get("code") == 201
    if is_new and event["verb"] == "patch":
        # an object that is applied and did not exist takes the right to create it
        yield Right(role, group, resource, "create")
