"""Polls a new cluster's API server until it is usable. Everything else goes through kubectl."""

import http.client
import json
import ssl
import time
from collections.abc import Callable
from typing import Any

from tests.cluster import addresses
from tests.cluster.cluster_records import ClusterRecord
from tests.cluster.errors import ClusterError

PORT = 6443
POLL_SECONDS = 0.1
REQUEST_SECONDS = 5.0
CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"


class TimedOut(ClusterError):
    """A condition did not become true in time, although it still could."""


class ApiServer:
    """The API server of one cluster, with the administrator's credentials."""

    def __init__(self, record: ClusterRecord) -> None:
        certificates = record.directory / "pki"
        self._address = addresses.link(record.index).node_address
        self._node = f"/api/v1/nodes/{record.node_name}"
        self._context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        self._context.load_cert_chain(certificates / "admin.crt", certificates / "admin.key")

    @property
    def url(self) -> str:
        return f"https://{self._address}:{PORT}"

    def is_ready(self) -> bool:
        return self._request("GET", "/readyz") == b"ok"

    def has_default_account(self) -> bool:
        """Returns whether pods can be created in the namespace default."""
        return bool(self._request("GET", "/api/v1/namespaces/default/serviceaccounts/default"))

    def node_is_registered(self) -> bool:
        return bool(self._request("GET", self._node))

    def label_node(self) -> None:
        """Gives the node the control-plane role, as kubeadm does; kubelets may not set it on themselves."""
        patch = json.dumps({"metadata": {"labels": {CONTROL_PLANE_LABEL: ""}}})
        self._request("PATCH", self._node, patch, "application/merge-patch+json")

    def node_is_ready(self) -> bool:
        node: dict[str, Any] = json.loads(self._request("GET", self._node))
        conditions = node["status"].get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def _request(
        self, method: str, path: str, body: str | None = None, content_type: str = ""
    ) -> bytes:
        """Sends a request and returns the answer's body; raises OSError, also for an error status."""
        connection = http.client.HTTPSConnection(
            self._address, PORT, context=self._context, timeout=REQUEST_SECONDS
        )
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if body else {})
            answer = connection.getresponse()
            content = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"{method} {path} failed: connection closed") from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise OSError(f"{method} {path} answered {answer.status}")
        return content


def await_true(
    what: str,
    condition: Callable[[], bool],
    *,
    seconds: float,
    obstacle: Callable[[], str | None],
) -> None:
    """Waits until condition is true.

    Raises TimedOut after seconds, and ClusterError as soon as obstacle returns why waiting is useless.
    """
    deadline = time.monotonic() + seconds
    last = "(no answer)"
    while True:
        try:
            if condition():
                return
            last = "not yet"
        except OSError as error:
            last = str(error)
        if (reason := obstacle()) is not None:
            raise ClusterError(f"waiting for {what}: {reason}")
        if time.monotonic() > deadline:
            raise TimedOut(
                f"waiting for {what}: timed out after {seconds:.0f} s (last answer: {last}); "
                "--retain keeps the node and its logs"
            )
        time.sleep(POLL_SECONDS)
