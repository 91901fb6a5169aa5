"""The processes of the bench: the API server, who stands in for relay pods and Prometheus, and operators."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from bench.serving import serving
from bench.tenants import costs
from bench.tenants.stand_in import CONTROL_PORT, QUERY_PORT
from tests.blackbox.process import python_environment
from tests.cluster import paths
from tests.demo import stage

API_PORT: Final = 18001
_MODULE: Final = (sys.executable, "-m")
_OPERATOR_ADDRESS: Final = "10.255.0.1"
_SECONDS: Final = 600.0
_LOOK_SECONDS: Final = 0.3


def ask(url: str, body: Any = None, *, method: str | None = None) -> Any:
    """Sends a request to one of the processes; returns what it answers, as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        return json.loads(answer.read())


def control(path: str, body: Any = None) -> Any:
    """Asks the API server's process to do something, or to tell its state."""
    method = "GET" if path == "state" else "POST"
    return ask(f"http://127.0.0.1:{API_PORT}/control/{path}", body, method=method)


def tell(path: str, body: Any = None) -> Any:
    """Asks who stands in for the relay pods, or tells it what to do."""
    url = f"http://127.0.0.1:{CONTROL_PORT}{path}"
    return ask(url, body, method="GET" if body is None else "PUT")


def items(plural: str) -> list[dict[str, Any]]:
    """Lists all objects of a kind, by its path after /apis or /api."""
    found: list[dict[str, Any]] = ask(f"http://127.0.0.1:{API_PORT}/{plural}")["items"]
    return found


def until(what: str, is_so: Callable[[], bool], *, seconds: float = _SECONDS) -> None:
    """Waits until something is so; raises TimeoutError."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(_LOOK_SECONDS)


class Operator:
    """One operator, as it is started in a pod but for its address."""

    def __init__(self, name: str, port: int, directory: Path) -> None:
        self.port = port
        environment = {
            **os.environ,
            **python_environment(),
            "KUBECONFIG": str(directory / "kubeconfig"),
            "OPERATOR_NAMESPACE": stage.OPERATOR_NAMESPACE,
            "OPERATOR_PORT": str(port),
            "OPERATOR_PROMETHEUS_URL": f"http://127.0.0.1:{QUERY_PORT}",
            "OPERATOR_PROMETHEUS_SCRAPE_SECONDS": "1",
            "OPERATOR_POD_IPS": _OPERATOR_ADDRESS,
        }
        command = [*_MODULE, "bench.fleet.sampled_operator", name]
        with (directory / f"{name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=paths.REPOSITORY
            )

    def taken(self) -> costs.Process:
        """Returns what processor time and memory it has taken."""
        return costs.process(self._process.pid)

    def metric(self, name: str) -> float:
        """Returns the sum of a metric's series; 0 while it does not answer."""
        url = f"http://127.0.0.1:{self.port}/metrics?name[]={name}"
        try:
            with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
                page = answer.read().decode()
        except (urllib.error.URLError, OSError):
            return 0.0
        found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)", page, re.MULTILINE)
        return sum(map(float, found))

    def scrape(self) -> None:
        """Reads what Prometheus reads every half a minute."""
        for path in ("metrics", "sd/relays"):
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/{path}", timeout=_SECONDS
            ) as answer:
                answer.read()

    def begin_or_end_profile(self) -> None:
        """Begins to count where processor time goes, or ends that and writes it to FLEET_PROFILE, with the operator's name at its end."""
        self._process.send_signal(signal.SIGUSR2)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def surroundings(directory: Path) -> Iterator[None]:
    """Starts what an operator speaks to, and writes its kubeconfig."""
    named = {"name": "fleet"}
    server = {"cluster": {"server": f"http://127.0.0.1:{API_PORT}"}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [named | server],
        "users": [named | {"user": {"token": "t"}}],
        "contexts": [named | {"context": {"cluster": "fleet", "user": "fleet"}}],
        "current-context": "fleet",
    }
    (directory / "kubeconfig").write_text(json.dumps(config))
    with (
        serving((*_MODULE, "bench.fleet.server", str(API_PORT)), "the API server in memory"),
        serving((*_MODULE, "bench.tenants.stand_in"), "who stands in for the relay pods"),
    ):
        yield
