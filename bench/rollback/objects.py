"""The objects of the bench: one pod that is both providers, the witness in Prometheus' place, tenants and their routes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.rollback.story import MAX_ERROR_PERCENT
from bench.rollback.witness import CONTROL_PORT, QUERY_PORT
from tests.demo import stage
from tests.e2e.canaries import objects

from relay_operator.names import ANNOTATION_RETRY

Manifest = dict[str, Any]

NAMESPACE: Final = "monitoring"
WITNESS: Final = "witness"
WITNESS_URL: Final = f"http://{WITNESS}.{NAMESPACE}.svc.cluster.local:{QUERY_PORT}"
STABLE, CANARY = "stable", "canary"
PERCENT: Final = 10
_PROGRAM: Final = ("responder.py", "relay_pods.py", "witness.py")
_HOME: Final = "/program"


def base() -> list[Manifest]:
    """Returns what is there before the operator: namespaces, providers, and the witness."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}}
        for name in ("providers", NAMESPACE)
    ]
    return [*namespaces, *objects.fleet([STABLE, CANARY]), *_witness()]


def providers() -> list[Manifest]:
    """Returns the Providers and the Secrets with their keys."""
    secrets = (objects.secret(name, stage.OPERATOR_NAMESPACE) for name in (STABLE, CANARY))
    named = enumerate((STABLE, CANARY))
    return [*secrets, *(objects.provider(name, objects.FIRST_PORT + i) for i, name in named)]


def tenant(pods: int) -> str:
    """Returns the name of the tenant with so many relay pods."""
    return f"pods-{pods}"


def namespace(pods: int) -> str:
    """Returns that tenant's namespace."""
    return f"relay-{tenant(pods)}"


def made_tenant(pods: int) -> Manifest:
    """Returns the Tenant."""
    return objects.tenant(tenant(pods), replicas=pods)


def route(name: str, pods: int, *, retry: str = "") -> Manifest:
    """Returns a route with a canary that stays at its percent; retry brings it back after a rollback."""
    spec = {
        "match": {"models": [f"model-{name}"]},
        "stable": {"provider": STABLE},
        "canary": {"provider": CANARY, "percent": PERCENT},
        "analysis": {"errorRate": {"maxPercent": MAX_ERROR_PERCENT}},
    }
    made = objects.route(name, namespace(pods), spec)
    if retry:
        made["metadata"]["annotations"] = {ANNOTATION_RETRY: retry}
    return made


def _witness() -> list[Manifest]:
    here = Path(__file__).parent
    metadata = {"name": WITNESS, "namespace": NAMESPACE}
    # the second one is what network policies let in in Prometheus' place
    labels = {"app": WITNESS, "app.kubernetes.io/name": "prometheus"}
    program = {name: (here / name).read_text() for name in _PROGRAM}
    ports = [{"name": f"p{port}", "port": port} for port in (QUERY_PORT, CONTROL_PORT)]
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": program},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _witness_pod()},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": ports},
        },
    ]


def _witness_pod() -> Manifest:
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": "main",
        "image": objects.IMAGE,
        "imagePullPolicy": "Never",
        "command": ["python3", "-m", "bench.rollback.witness"],
        "env": [{"name": "PYTHONPATH", "value": _HOME}],
        "readinessProbe": {"tcpSocket": {"port": CONTROL_PORT}, "periodSeconds": 1},
        "securityContext": security,
        "volumeMounts": [{"name": "program", "mountPath": f"{_HOME}/bench/rollback"}],
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "program", "configMap": {"name": WITNESS}}],
    }


def listed(manifests: Sequence[Mapping[str, Any]]) -> str:
    """Returns manifests as one text for kubectl."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
