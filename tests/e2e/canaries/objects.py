"""The objects that stories need: a fleet of simulated providers, the tenants' applications, and Prometheus spoilt at will."""

import json
from collections.abc import Sequence
from typing import Any

IMAGE = "provider-simulator:dev"
FIRST_PORT = 9100
CONTROL_PORT = 9001
FLEET_KEY = "provider-key-of-the-fleet"
BEHAVIOUR = {"latency_ms": 20, "first_token_ms": 10, "api_key": FLEET_KEY}
_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def fleet(names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns one pod that is all these providers, and the Service with a port for each."""
    arguments = [
        f"--names={','.join(names)}",
        f"--first-port={FIRST_PORT}",
        f"--control-port={CONTROL_PORT}",
        f"--behaviour={json.dumps(BEHAVIOUR)}",
    ]
    ports = [FIRST_PORT + index for index in range(len(names))]
    return _program("fleet", "providers", "tests.simulator.fleet", arguments, ports)


def crowd() -> list[dict[str, Any]]:
    """Returns the pod that is all tenants' applications."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}}
    return [namespace, *_program("crowd", "web", "tests.simulator.crowd", [], [])]


def spoilt_prometheus() -> list[dict[str, Any]]:
    """Returns what stands between the operator and Prometheus."""
    arguments = ["--upstream=http://prometheus.monitoring.svc.cluster.local:9090"]
    return _program("spoilt", "monitoring", "tests.simulator.prometheus_faults", arguments, [9090])


def _program(
    name: str, namespace: str, module: str, arguments: Sequence[str], ports: Sequence[int]
) -> list[dict[str, Any]]:
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["python3", "-m", module],
        "args": list(arguments),
        "readinessProbe": {
            "tcpSocket": {"port": CONTROL_PORT},
            "periodSeconds": 1,
        },
        "securityContext": _SECURITY,
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": _POD_SECURITY,
        "containers": [container],
    }
    labels = {"app": name}
    metadata = {"name": name, "namespace": namespace}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    listed = [{"name": f"p{port}", "port": port} for port in (CONTROL_PORT, *ports)]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": labels, "ports": listed},
    }
    return [deployment, service]


def provider(name: str, port: int) -> dict[str, Any]:
    """Returns the Provider for one of the fleet; it knows every model by the name that callers use."""
    reference = {"namespace": "providers", "name": "fleet", "port": port}
    spec = {"endpoint": {"serviceRef": reference}, "auth": {"secretName": secret_name(name)}}
    return _custom("Provider", name, spec)


def secret_name(provider: str) -> str:
    """Returns the name of the Secret with a provider's key."""
    return f"{provider}-fleet-key"


def secret(provider: str, namespace: str) -> dict[str, Any]:
    """Returns the Secret with the key of one of the fleet, in the operator's namespace."""
    labels = {"relay-operator.dev/provider": provider}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret_name(provider), "namespace": namespace, "labels": labels},
        "stringData": {"api-key": FLEET_KEY},
    }


def tenant(name: str, *, replicas: int) -> dict[str, Any]:
    """Returns a Tenant that the applications may call, with seats enough for a story whose calls hang."""
    spec = {
        "relay": {"replicas": replicas},
        "queue": {"concurrency": 1000, "maxDepth": 2000},
        "apiKeys": [{"name": "production"}],
        "network": {"allowFrom": [{"namespace": "web"}]},
    }
    return _custom("Tenant", name, spec)


def route(name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Returns a RelayRoute."""
    return _custom("RelayRoute", name, spec, namespace)


def _custom(kind: str, name: str, spec: dict[str, Any], namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": "relay-operator.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }
