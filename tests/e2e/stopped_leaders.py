"""A leader whose process is stopped for longer than its lease and goes on: what the API server and the relays saw of it then."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.cluster import cluster_records
from tests.demo.commands import Cluster
from tests.e2e import leaders
from tests.growing_files import whole_lines

SECONDS = float(os.environ.get("STOPPED_LEADER_SECONDS", "0"))
"""For how long a leader stays stopped, if that is longer than it takes another one to lead: a lease, and a bit more.

From half a minute on the kubelet restarts the container, unless the Deployment's liveness probe is told to wait.
"""
CHANGES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
"""Verbs as the audit log has them; it has the reads too."""
LONGEST_CALL_SECONDS = 8.0
"""What the former leader still sends has this time to arrive: longer than any call of it lasts."""


@dataclass(frozen=True, slots=True)
class GoneOn:
    """A former leader that goes on: its pod, since when (seconds since the epoch), for how long it was stopped, and the number of the
    leader after it.
    """

    pod: str
    since: float
    stopped_seconds: float
    epoch: int


def stop(cluster: Cluster, *, before_it_goes_on: Callable[[], object] = lambda: None) -> GoneOn:
    """Stops the leader's process until another one leads; lets it go on."""
    former = leaders.leader(cluster)
    number = leaders.process(cluster, leaders.pod_of(former))
    began = time.monotonic()
    os.kill(number, signal.SIGSTOP)
    try:
        leaders.taken_over(cluster, former)
        epoch = int(leaders.spec(cluster)["leaseTransitions"])
        time.sleep(max(SECONDS - (time.monotonic() - began), 0.0))
        before_it_goes_on()
    finally:
        since, stopped = time.time(), time.monotonic() - began
        os.kill(number, signal.SIGCONT)
    return GoneOn(leaders.pod_of(former), since, stopped, epoch)


def check(cluster: Cluster, gone_on: GoneOn, *, relays: str) -> str:
    """Checks that it has changed nothing since it goes on, and that no relay pod of a namespace saw a push of it; says how much was
    looked at.
    """
    time.sleep(max(gone_on.since + LONGEST_CALL_SECONDS - time.time(), 0.0))
    until = time.time()
    changes = list(_changes(cluster, gone_on.since, until))
    by_it = [one for one in changes if _pod(one) == gone_on.pod]
    by_others = {_pod(one) for one in changes} - {gone_on.pod}
    assert not by_it, "\n".join(map(_told, by_it))
    assert by_others, f"the audit log has no change of any operator since {gone_on.since}"
    lines = list(_lines(cluster, relays, gone_on.since))
    late = [one for one in lines if _is_of_a_former_leader(one, gone_on.epoch)]
    assert not late, late
    return (
        f"stopped for {gone_on.stopped_seconds:.1f} s: 0 changes and 0 pushes of {gone_on.pod} in the {until - gone_on.since:.0f} s since "
        f"({len(changes)} changes of operators, {len(lines)} log lines of relays)"
    )


def _is_of_a_former_leader(line: dict[str, Any], epoch: int) -> bool:
    """Tells of a log line of a relay whether it is about a push of a leader before this one."""
    if line.get("source") != "push":
        return False
    refused = bool(line["event"] == "document_rejected" and line["code"] == "stale_epoch")
    return refused or bool(line["event"] == "document_in_force" and line["epoch"] < epoch)


def _changes(cluster: Cluster, since: float, until: float) -> Iterator[dict[str, Any]]:
    """Reads what pods of the operator's namespace changed in that time, as the API server's audit log tells it."""
    record = cluster_records.read(cluster.name)
    assert record is not None
    assert record.audit_log, f"cluster {cluster.name} was created without an audit log"
    group = f"system:serviceaccounts:{leaders.NAMESPACE}"
    for line in whole_lines(record.audit_log_path):
        event = json.loads(line)
        is_ours = group in event["user"].get("groups", ())
        at = datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
        is_change = event["verb"] in CHANGES
        taken = is_change and event.get("responseStatus", {}).get("code", 500) < 300
        if is_ours and taken and since <= at <= until:
            yield event


def _pod(event: dict[str, Any]) -> str:
    return str(event["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name", [""])[0])


def _told(event: dict[str, Any]) -> str:
    return f"{event['requestReceivedTimestamp']} {event['verb']} {event['requestURI']}"


def _lines(cluster: Cluster, namespace: str, since: float) -> Iterator[dict[str, Any]]:
    """Reads what the supervisors of the relay pods logged since then."""
    printed = cluster.kubectl(
        *("logs", "-n", namespace, "-l", "app.kubernetes.io/name=relay", "--tail=-1"),
        f"--since={int(time.time() - since) + 1}s",
    )
    for text in printed.splitlines():
        if text.startswith("{"):
            line = json.loads(text)
            if "event" in line and line.get("ts", 0.0) >= since:
                yield line
