"""What the stories of tools stand on in the cluster: two servers of tools, a provider's access, and a pod of clients."""

import json
from pathlib import Path
from typing import Any

from tests.demo import stage
from tests.demo.commands import Cluster
from tests.e2e.mcp_server import PORT
from tests.e2e.test_memory import pod
from tests.e2e.test_tenancy import apply

SPACE = "tools"
ERP, ROGUE = "erp", "rogue"
TOOLS = {ERP: ("read_invoice", "list_orders", "pay", "draft_mail"), ROGUE: ("scan",)}
"""The tools of each server. Those of the second do what the call asks for, be it malicious."""
CREDENTIAL = "erp-credential-7f31"
CREDENTIALS = "erp-tools"
PROVIDER = "chatter"
CLIENTS = "clients"
_SOURCES = (
    "tests/blackbox/tool_server.py",
    "tests/blackbox/session_server.py",
    "tests/tool_isolation/watched_server.py",
    "tests/e2e/mcp_server.py",
)
_ROOT = Path(__file__).resolve().parents[2]


def install(cluster: Cluster) -> None:
    """Applies everything, and waits for the pods."""
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
        _sources(),
        *(one for name in TOOLS for one in _server(name)),
        _secret(CREDENTIALS, "tool-server", ERP, CREDENTIAL),
        _secret(f"{PROVIDER}-key", "provider", PROVIDER, "provider-key-of-legacy"),
        pod(CLIENTS, SPACE, ["python3", "-c", "import time; time.sleep(3600)"]),
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(listed))
    for name in TOOLS:
        cluster.kubectl("rollout", "status", "-n", SPACE, f"deploy/{name}", "--timeout=90s")
    cluster.kubectl("wait", f"pod/{CLIENTS}", "-n", SPACE, "--for=condition=Ready", "--timeout=60s")
    for name in TOOLS:
        auth = {"auth": {"secretName": CREDENTIALS}} if name == ERP else {}
        reference = {"namespace": SPACE, "name": name, "port": 80}
        apply(cluster, "ToolServer", name, {"endpoint": {"serviceRef": reference}, **auth})
    reference = {"namespace": "providers", "name": "legacy", "port": 80}
    spec: dict[str, Any] = {"endpoint": {"serviceRef": reference}}
    spec |= {"auth": {"secretName": f"{PROVIDER}-key"}, "models": [{"name": "gpt-4.1"}]}
    apply(cluster, "Provider", PROVIDER, spec)


def remove(cluster: Cluster) -> None:
    """Takes everything away again."""
    cluster.kubectl("delete", "toolserver", *TOOLS)
    cluster.kubectl("delete", "provider.relay-operator.dev", PROVIDER)
    for name in (CREDENTIALS, f"{PROVIDER}-key"):
        cluster.kubectl("delete", "secret", name, "-n", stage.OPERATOR_NAMESPACE)
    cluster.kubectl("delete", "namespace", SPACE, "--wait=false")


def _sources() -> dict[str, Any]:
    data = {path.replace("/", "."): (_ROOT / path).read_text() for path in _SOURCES}
    metadata = {"name": "server", "namespace": SPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _server(name: str) -> list[dict[str, Any]]:
    command = ["python3", "-m", "tests.e2e.mcp_server", *TOOLS[name]]
    spec = pod(
        name,
        SPACE,
        command,
        env=[{"name": "PYTHONPATH", "value": "/mcp"}],
        ports=[{"name": "mcp", "containerPort": PORT}],
        readinessProbe={"tcpSocket": {"port": "mcp"}, "periodSeconds": 1},
        volumeMounts=[{"name": "source", "mountPath": "/mcp"}],
    )["spec"]
    items = [{"key": path.replace("/", "."), "path": path} for path in _SOURCES]
    spec["volumes"] = [{"name": "source", "configMap": {"name": "server", "items": items}}]
    labels = {"app": name}
    metadata = {"name": name, "namespace": SPACE}
    deployment = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }
    ports = [{"port": 80, "targetPort": "mcp"}]
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": ports},
        },
    ]


def _secret(name: str, label: str, value: str, credential: str) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": stage.OPERATOR_NAMESPACE,
        "labels": {f"relay-operator.dev/{label}": value},
    }
    content = {"api-key": credential}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content}
