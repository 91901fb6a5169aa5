"""Reads what processor time and memory processes have taken, and how often the API server was written to."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_WRITES: Final = re.compile(r"apiserver_request_total\{(.*)\} (\S+)")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_STORED: Final = re.compile(r"^apiserver_storage_size_bytes\{.*\} (\S+)", re.MULTILINE)
_WRITING: Final = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"})
_AT_ANY_TIME: Final = frozenset(
    {
        "leases", "nodes", "nodes/status", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews",
        "serviceaccounts/token", "events", "apiservices/status", "flowschemas/status",
        "prioritylevelconfigurations/status", "csinodes", "validatingadmissionpolicies/status",
    }
)  # fmt: skip
"""What the cluster's own programs write whatever happens."""
_OF_CONTROLLERS: Final = frozenset(
    {
        "endpoints", "endpointslices", "pods/status", "pods/binding", "pods/eviction", "replicasets",
        "replicasets/status", "deployments/status", "resourcequotas/status", "poddisruptionbudgets/status",
        "controllerrevisions", "ipaddresses", "networkpolicies/status",
    }
)  # fmt: skip
"""What Kubernetes' controllers write for the sake of others' objects."""


@dataclass(frozen=True, slots=True)
class Process:
    """CPU seconds since the start, bytes of resident memory."""

    pid: int
    cpu_seconds: float
    resident_bytes: int


def process(pid: int) -> Process:
    """Reads what a process has taken so far (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Process(
        pid=pid,
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        resident_bytes=int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
    )


def program(name: str, *, argument: str) -> int:
    """Returns the process of a program that was started with an argument that holds this text."""
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            command = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if Path(command[0]).name == name and any(argument in one for one in command[1:]):
            return int(directory.name)
    raise RuntimeError(f"no process {name} with {argument}")


def writes(metrics: str, *, of_controllers: bool = False) -> Mapping[str, int]:
    """Returns how many writes the API server has taken, by verb and resource: the operator's and users', and Kubernetes' controllers' if asked."""
    left_out = _AT_ANY_TIME if of_controllers else _AT_ANY_TIME | _OF_CONTROLLERS
    found: dict[str, int] = {}
    for text, value in _WRITES.findall(metrics):
        labels = dict(_LABEL.findall(text))
        resource = "/".join(filter(None, (labels["resource"], labels["subresource"])))
        if labels["verb"] not in _WRITING or resource in left_out:
            continue
        key = f"{labels['verb']} {resource}"
        found[key] = found.get(key, 0) + int(float(value))
    return found


def more(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Returns by how much counts have grown; those that have not are left out."""
    grown = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: count for name, count in grown.items() if count > 0}


def stored_bytes(metrics: str) -> int:
    """Returns the size of etcd's database."""
    return int(sum(float(one) for one in _STORED.findall(metrics)))
