"""The protocol between the command and a running node: one JSON request and reply per Unix connection."""

import json
import socket
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from tests.cluster.errors import ClusterError

SOCKET = "control.sock"
MAX_BYTES = 64 * 1024
TIMEOUT_SECONDS = 10.0


class Verb(StrEnum):
    STATUS = "status"
    START = "start"
    STOP = "stop"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Request:
    verb: Verb
    component: str = ""


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """State of a component. pid is the process's id inside the namespaces, None while it does not run."""

    name: str
    wanted: bool
    pid: int | None
    restarts: int


@dataclass(frozen=True, slots=True)
class Reply:
    error: str = ""
    components: tuple[ComponentStatus, ...] = ()


def receive(connection: socket.socket) -> Request:
    """Reads the request of a connection; raises ValueError if it is not one."""
    connection.settimeout(TIMEOUT_SECONDS)
    content = json.loads(_read_all(connection))
    if not isinstance(content, dict):
        raise ValueError("a request is a JSON object")
    return Request(Verb(str(content.get("verb"))), str(content.get("component", "")))


def send(connection: socket.socket, reply: Reply) -> None:
    """Sends the reply; does nothing if the caller has closed the connection."""
    try:
        connection.sendall(json.dumps(asdict(reply)).encode())
    except (BrokenPipeError, ConnectionResetError):
        return


def ask(directory: Path, request: Request) -> Reply:
    """Sends a request and returns the node's reply; raises ClusterError if it refuses or does not answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        try:
            connection.connect(str(directory / SOCKET))
            connection.sendall(json.dumps(asdict(request)).encode())
            connection.shutdown(socket.SHUT_WR)
            content = json.loads(_read_all(connection))
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"the node in {directory} does not answer ({error}): see logs/init.log there"
            ) from error
    if content["error"]:
        raise ClusterError(content["error"])
    return Reply(components=tuple(ComponentStatus(**entry) for entry in content["components"]))


def listen(directory: Path) -> socket.socket:
    """Returns a listening socket in directory, which only root may use."""
    unfinished = directory / f"{SOCKET}.new"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(unfinished))
    listener.listen(16)
    # a caller between bind and listen would be refused, so the socket gets its name after listen
    unfinished.rename(directory / SOCKET)
    return listener


def _read_all(connection: socket.socket) -> bytes:
    received = bytearray()
    while chunk := connection.recv(4096):
        received += chunk
        if len(received) > MAX_BYTES:
            raise ValueError(f"a message longer than {MAX_BYTES} bytes")
    return bytes(received)
