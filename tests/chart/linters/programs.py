"""Runs the linters; each function returns what one of them found, in its own words."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.chart.linters import installed
from tests.cluster.build import go_build, go_programs


def tool(name: str) -> Path:
    """Returns the program, which is built once."""
    return go_build.ensure_tool(go_programs.CHART_TOOLS[name])


def kubeconform(manifests: Path, version: str) -> list[str]:
    """Returns what does not fit the schemas of this version of Kubernetes, or of the Prometheus operator."""
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
    command += [f"-schema-location={ours}", f"-schema-location={theirs}", str(manifests)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    return [f"{one['kind']} {one['name']}: {one['msg']}" for one in found.get("resources", ())]


def checkov(manifests: Path) -> list[str]:
    """Returns every check that is not passed."""
    command = [sys.executable, "-m", "checkov.main", "--framework", "kubernetes", "--output=json"]
    command += ["--quiet", "--compact", "--skip-download", "--file", str(manifests)]
    environment = {**os.environ, "PYTHONPATH": str(installed.checkov()), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    return [
        f"{one['resource']}: {one['check_id']}: {one['check_name']}"
        for one in found["results"]["failed_checks"]
    ]


def helm_docs(chart: Path) -> str:
    """Returns the README of the chart as it is to be."""
    command = [str(tool("helm-docs")), "--dry-run", "--sort-values-order=file"]
    done = subprocess.run(
        [*command, f"--chart-search-root={chart}"], capture_output=True, text=True, check=True
    )
    return done.stdout
