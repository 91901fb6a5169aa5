"""Asks relay pods at their admin ports what they run: the weights of the document that every worker of a pod has in force.

Runs in the cluster, on the standard library alone.
"""

import hashlib
import http.client
import json
from collections.abc import Mapping
from typing import Any, Final

from bench.rollback.responder import clock

_SECONDS: Final = 2.0
_CONFIG: Final = "/config"
_IN_FORCE, _KEPT = 200, 409


class RelayPod:
    """A connection to one pod. envelope is a document of its tenant, signed by the operator, that it has or has had in force.

    A pod that is offered an old document answers with the one that it keeps: so the weights are read from what the pod
    runs, not from what the operator says of it.
    """

    def __init__(self, name: str, address: str, port: int, envelope: str) -> None:
        self.name = name
        self._address, self._port, self._envelope = address, port, envelope
        self._connection: http.client.HTTPConnection | None = None
        self._known: tuple[str, Mapping[str, int]] = ("", {})

    def weights(self) -> tuple[float, Mapping[str, int]] | None:
        """Returns the canaries' weights by route, and when they were seen in force; None while workers change documents."""
        _, told = self._ask("GET", None)
        seen_at = clock()
        if not told["generation"]:
            return None
        if told["digest"] != self._known[0]:
            status, answer = self._ask("PUT", self._envelope.encode())
            envelope = json.loads(self._envelope) if status == _IN_FORCE else answer["inForce"]
            digest = hashlib.sha256(envelope["payload"].encode()).hexdigest()
            if answer["digest"] != digest:
                return None
            if digest != told["digest"]:
                seen_at = clock()
            self._known = digest, _weights(envelope["payload"])
        return seen_at, self._known[1]

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, body: bytes | None) -> tuple[int, Any]:
        try:
            return self._ask_once(method, body)
        except (http.client.HTTPException, ConnectionError):
            # the pod has closed the connection while it was idle
            self.close()
            return self._ask_once(method, body)

    def _ask_once(self, method: str, body: bytes | None) -> tuple[int, Any]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                self._address, self._port, timeout=_SECONDS
            )
        self._connection.request(method, _CONFIG, body=body)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status not in (_IN_FORCE, _KEPT):
            raise OSError(
                f"pod {self.name} answered {method} with {response.status}: {answer[:200]!r}"
            )
        return response.status, json.loads(answer)


def _weights(payload: str) -> dict[str, int]:
    routes = json.loads(payload)["tenant"]["routes"]
    return {route["name"]: route["canaryPercent"] for route in routes}
