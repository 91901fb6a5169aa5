"""Reads from the API server and from Prometheus behind it, through one `kubectl proxy`: a process a look would cost more than the look."""

import json
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request
from types import TracebackType
from typing import Any, Final, Self

from tests.demo.commands import Cluster, DemoFailed

_LOOK_SECONDS: Final = 3.0
_SERVICE: Final = "monitoring/services/prometheus:9090"


class ApiProxy:
    """A proxy on a free port of the loopback interface for as long as it is entered.

    prometheus is the Service of Prometheus, as NAMESPACE/services/NAME:PORT.
    """

    def __init__(self, cluster: Cluster, *, prometheus: str = _SERVICE) -> None:
        self._cluster = cluster
        self._prometheus = f"/api/v1/namespaces/{prometheus}/proxy/api/v1"
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    def __enter__(self) -> Self:
        """Starts it; raises DemoFailed if it does not say where it listens."""
        command = [str(self._cluster.kubectl_path), "proxy", "--port=0"]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "KUBECONFIG": str(self._cluster.kubeconfig)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Ctrl-C is for us, who end it
            start_new_session=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", said)
        if found is None:
            self.__exit__(None, None, None)
            raise DemoFailed(f"{' '.join(command)}: {said}")
        self._url = f"http://{found[0]}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def get(self, path: str) -> dict[str, Any]:
        """Returns what the API server has at a path; raises OSError or ValueError if it does not tell."""
        with urllib.request.urlopen(f"{self._url}{path}", timeout=_LOOK_SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def told(self, path: str) -> Any:
        """Returns what Prometheus tells of itself at a path of its API."""
        return self.get(f"{self._prometheus}/{path}")["data"]

    def ask(self, expression: str) -> dict[str, Any]:
        """Returns Prometheus' answer to an expression."""
        return self.get(f"{self._prometheus}/query?{urllib.parse.urlencode({'query': expression})}")

    def ask_over(self, expression: str, *, seconds: float, step_seconds: float) -> dict[str, Any]:
        """Returns Prometheus' answer over the last so many seconds."""
        now = time.time()
        query = {"query": expression, "start": now - seconds, "end": now, "step": step_seconds}
        return self.get(f"{self._prometheus}/query_range?{urllib.parse.urlencode(query)}")
