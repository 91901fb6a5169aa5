"""Runs the linters; each function returns what one of them found, in its own words."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.chart.linters import installed
from tests.cluster.build import go_build, go_programs

_ALMOST_OK: Final = 7
"""Of kube-score's grades: 1 is critical, 5 a warning, 10 all right."""


def tool(name: str) -> Path:
    """Returns the program, which is built once."""
    return go_build.ensure_tool(go_programs.CHART_TOOLS[name])


def kubeconform(version: str, *files: Path) -> dict[Path, list[str]]:
    """Returns what does not fit the schemas of this version of Kubernetes, or of the Prometheus operator, by the file."""
    schemas = installed.kubernetes_schemas()
    ours = f"{schemas}/{{{{.NormalizedKubernetesVersion}}}}-local-strict/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    theirs = (
        f"{installed.monitoring_schemas()}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json"
    )
    command = [
        str(tool("kubeconform")),
        "-strict",
        "-output=json",
        f"-kubernetes-version={version}",
    ]
    command += [f"-schema-location={ours}", f"-schema-location={theirs}", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[Path, list[str]] = {file: [] for file in files}
    for one in json.loads(done.stdout).get("resources", ()):
        found[Path(one["filename"])].append(f"{one['kind']} {one['name']}: {one['msg']}")
    return found


def kube_score(manifests: Path) -> list[str]:
    """Returns what is critical and what is a warning, of all objects but those that say beside the reason what to leave alone."""
    command = [str(tool("kube-score")), "score", "--output-format=json"]
    # the oldest that the chart allows
    command += ["--kubernetes-version=v1.31", str(manifests)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [
        f"{one['object_name']}: {check['check']['id']}: {comment['summary']}"
        for one in json.loads(done.stdout)
        for check in one["checks"]
        if not check["skipped"] and check["grade"] < _ALMOST_OK
        for comment in check["comments"] or ({"summary": check["check"]["name"]},)
    ]


def checkov(*files: Path) -> dict[Path, list[str]]:
    """Returns every check that is not passed, by the file."""
    command = [sys.executable, "-m", "checkov.main", "--framework", "kubernetes", "--output=json"]
    command += ["--quiet", "--compact", "--skip-download", "--file", *map(str, files)]
    environment = {**os.environ, "PYTHONPATH": str(installed.checkov()), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found: dict[Path, list[str]] = {file: [] for file in files}
    for one in json.loads(done.stdout)["results"]["failed_checks"]:
        told = f"{one['resource']}: {one['check_id']}: {one['check_name']}"
        found[Path(one["file_abs_path"])].append(told)
    return found


def helm_docs(chart: Path) -> str:
    """Returns the README of the chart as it is to be."""
    command = [str(tool("helm-docs")), "--dry-run", "--sort-values-order=file"]
    done = subprocess.run(
        [*command, f"--chart-search-root={chart}"], capture_output=True, text=True, check=True
    )
    return done.stdout
