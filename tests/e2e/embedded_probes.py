"""Probes for tests of the embedded cluster: small pods, the `kind` command, waits that show the last value seen."""

import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.cluster.session.clients import Client
from tests.cluster.session.provider import EMBEDDED_KIND

WEB = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (os.environ["HOSTNAME"] + " " + self.client_address[0]).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): print("asked for", self.path, flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Answer).serve_forever()
"""
WEB_ANSWERS = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
SLEEP = ("sleep", "100000")
WAIT = "import time; time.sleep(100000)"


def kind(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs the embedded cluster's `kind` command."""
    done = subprocess.run(
        [str(EMBEDDED_KIND), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def eventually(what: str, look: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Waits until look is true; fails with the last value seen."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s, last {seen!r}"
        time.sleep(0.1)


def pod(
    name: str, image: str, *command: str, labels: dict[str, str] | None = None
) -> dict[str, Any]:
    container = {"name": "main", "image": image, "command": list(command)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def web_pod(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    made = pod(name, "python:dev", "python3", "-c", WEB, labels=labels)
    made["spec"]["containers"][0]["readinessProbe"] = WEB_ANSWERS
    return made


def web_deployment(name: str, replicas: int) -> list[dict[str, Any]]:
    container = {
        "name": "web",
        "image": "python:dev",
        "command": ["python3", "-c", WEB],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": WEB_ANSWERS,
    }
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": template,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {
                "type": "NodePort",
                "selector": labels,
                "ports": [{"port": 80, "targetPort": 8080}],
            },
        },
    ]


def apply(kubectl: Client, namespace: str, *objects: dict[str, Any]) -> None:
    kubectl.apply(*({**o, "metadata": {**o["metadata"], "namespace": namespace}} for o in objects))


def await_ready(kubectl: Client, namespace: str, *names: str) -> None:
    targets = [f"pod/{name}" for name in names]
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "--timeout=60s", *targets)
