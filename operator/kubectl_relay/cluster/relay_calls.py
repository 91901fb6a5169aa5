"""Calls to a tenant's relay through a port that kubectl forwards."""

import contextlib
import http.client
import json
import re
import select
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubectl_relay.cluster.answers import problem
from kubectl_relay.cluster.kubectl import Kubectl
from kubectl_relay.errors import PluginError
from relay_operator.names import RELAY

_FORWARDING: Final = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ->")
_FORWARD_SECONDS: Final = 30.0
_CALL_SECONDS: Final = 60.0
_MOST_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of the relay and the seconds that it took."""

    status: int
    body: Mapping[str, Any]
    seconds: float

    @property
    def error(self) -> str:
        """Says what was refused and why, in the relay's words."""
        told = self.body.get("error")
        words = told.get("message") if isinstance(told, Mapping) else ""
        return f"HTTP {self.status}: {words}" if words else f"HTTP {self.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayCalls:
    """Calls with one API key, through a port of this machine."""

    port: int
    host: str
    is_tls: bool
    api_key: str

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Sends a request; raises PluginError if there is no answer."""
        connection = self._connection()
        started = time.monotonic()
        try:
            headers = {"Authorization": f"Bearer {self.api_key}", "Host": self.host}
            sent = None if body is None else json.dumps(body)
            if sent is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, body=sent, headers=headers)
            answer = connection.getresponse()
            said = answer.read(_MOST_BYTES)
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            raise PluginError(
                f"no answer from the relay: {error or type(error).__name__}"
            ) from error
        finally:
            connection.close()
        return Answer(status=status, body=_object(said), seconds=time.monotonic() - started)

    def _connection(self) -> http.client.HTTPConnection:
        if not self.is_tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=_CALL_SECONDS)
        # kubectl's tunnel ends in the tenant's own pod; whether its certificate is valid tells CertificateReady
        context = ssl._create_unverified_context()  # noqa: S323
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=_CALL_SECONDS, context=context
        )


@contextlib.contextmanager
def forwarded(kubectl: Kubectl, namespace: str, port: int) -> Iterator[int]:
    """Forwards a free port of this machine to the tenant's relay; yields its number."""
    target = ("port-forward", "-n", namespace, "--address=127.0.0.1", f"service/{RELAY}")
    with subprocess.Popen(
        kubectl.command([*target, f":{port}"]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # a line that waits in a buffer of ours would not be seen by select
        bufsize=0,
    ) as process:
        try:
            yield _port(process, f"forward a port to service {RELAY} in {namespace}")
        finally:
            process.terminate()


def _port(process: subprocess.Popen[bytes], what: str) -> int:
    assert process.stdout is not None
    said = b""
    deadline = time.monotonic() + _FORWARD_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([process.stdout], [], [], left)
        line = process.stdout.readline() if ready else b""
        if not line:
            break
        if found := _FORWARDING.search(line):
            return int(found[1])
        said += line
    raise problem(said.decode(errors="replace"), what)


def _object(said: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(said)
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}
