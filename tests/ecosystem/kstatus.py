"""Compares what kstatus makes of objects with their condition Ready."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.cluster.build import go_build
from tests.cluster.build.go_programs import KSTATUS

Body = dict[str, Any]


def computed(bodies: Sequence[Body]) -> list[str]:
    """Returns the status of each object, on which both forms of the library agree."""
    program = go_build.ensure_tool(KSTATUS)
    text = "\n".join(map(json.dumps, bodies))
    done = subprocess.run([str(program)], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(lines) == len(bodies)
    assert [line for line in lines if line[0] != line[1]] == []
    return [line[0] for line in lines]


def conditions(body: Body) -> dict[str, Body]:
    """Returns the conditions of an object by their types."""
    return {one["type"]: one for one in body.get("status", {}).get("conditions", [])}


def is_true(body: Body, type_: str) -> bool:
    return bool(conditions(body).get(type_, {}).get("status") == "True")


def is_observed(body: Body) -> bool:
    """Tells whether status is about the newest spec."""
    seen = body.get("status", {}).get("observedGeneration")
    return bool(seen == body["metadata"]["generation"])


def meant(body: Body) -> str:
    """Returns what Ready, Reconciling and Stalled say together: Current if Ready is true of the newest spec and nothing is on its way."""
    if "deletionTimestamp" in body["metadata"]:
        return "Terminating"
    if not is_observed(body) or is_true(body, "Reconciling"):
        return "InProgress"
    if is_true(body, "Stalled"):
        return "Failed"
    return "Current" if is_true(body, "Ready") else "InProgress"


def contradiction(body: Body) -> str:
    """Says how the conditions of an object speak against each other; empty if they do not."""
    if is_true(body, "Stalled") and is_true(body, "Reconciling"):
        return "both Stalled and Reconciling"
    if is_true(body, "Stalled") and is_true(body, "Ready"):
        return "both Stalled and Ready"
    return ""
