"""Has the admission webhook of the Prometheus operator judge rules, as it does in the clusters that have it."""

import contextlib
import functools
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.blackbox.process import free_ports
from tests.blackbox.waiting import eventually
from tests.cluster.build import go_build
from tests.cluster.build.go_programs import PROMETHEUS_OPERATOR

STARTS_SECONDS = 30.0
Object = dict[str, Any]
Judge = Callable[[Object], list[str]]
"""Returns what speaks against a PrometheusRule."""


@contextlib.contextmanager
def running(log: Path) -> Iterator[Judge]:
    """Runs the webhook on the loopback interface, without TLS, for as long as it is entered."""
    program = go_build.ensure_tools(PROMETHEUS_OPERATOR) / "admission-webhook"
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    command = [str(program), f"--web.listen-address={address}", "--web.enable-tls=false"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(
            functools.partial(_is_up, address), within_seconds=STARTS_SECONDS, what="the webhook"
        )
        yield functools.partial(_refusals, address)
    finally:
        process.kill()
        process.wait()


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def _refusals(address: str, rule: Object) -> list[str]:
    resource = {"group": "monitoring.coreos.com", "version": "v1", "resource": "prometheusrules"}
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "1", "resource": resource, "object": rule},
    }
    request = urllib.request.Request(
        f"http://{address}/admission-prometheusrules/validate",
        json.dumps(review).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        response = json.load(answer)["response"]
    if response["allowed"]:
        return []
    return [one["message"] for one in response["status"]["details"]["causes"]]
