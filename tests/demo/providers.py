"""Controls the simulated providers through kubectl exec."""

import json
from dataclasses import dataclass
from typing import Any

from tests.demo.commands import Cluster

# runs in the provider's own pod, so that the time it prints is not delayed by kubectl
_SCRIPT = """
import json, sys, time, urllib.request
method, path, body = sys.argv[1:4]
request = urllib.request.Request("http://127.0.0.1:9001" + path, method=method, data=body.encode() or None)
began = time.time()
answer = json.load(urllib.request.urlopen(request, timeout=5))
print(json.dumps({"at": began, "answer": answer}))
"""


@dataclass(frozen=True, slots=True)
class SimulatedProvider:
    cluster: Cluster
    name: str

    def behave(self, **behaviour: float | str | None) -> float:
        """Changes how the provider answers; returns the time of the change in seconds since the epoch."""
        return float(self._control("PUT", "/behaviour", json.dumps(behaviour))["at"])

    def reset(self) -> None:
        """Makes the provider healthy and sets its counts to zero."""
        self._control("POST", "/reset", "")

    def stats(self) -> dict[str, Any]:
        """Returns the provider's counts since the last reset."""
        answer: dict[str, Any] = self._control("GET", "/stats", "")["answer"]
        return answer

    def _control(self, method: str, path: str, body: str) -> dict[str, Any]:
        printed = self.cluster.kubectl(
            "exec",
            "-n",
            "providers",
            f"deployment/{self.name}",
            "--",
            "python3",
            "-c",
            _SCRIPT,
            method,
            path,
            body,
        )
        answer: dict[str, Any] = json.loads(printed)
        return answer
