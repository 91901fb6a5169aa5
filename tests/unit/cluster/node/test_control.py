"""Requests and replies between the command and a running node, well-formed and not."""

import json
import socket
import threading
from pathlib import Path

import pytest
from tests.cluster.errors import ClusterError
from tests.cluster.node import control
from tests.cluster.node.control import ComponentStatus, Reply, Request, Verb


def node_that_replies(directory: Path, reply: Reply) -> tuple[threading.Thread, list[Request]]:
    """Answers one request as the supervisor does."""
    received: list[Request] = []
    listener = control.listen(directory)

    def answer() -> None:
        with listener, listener.accept()[0] as connection:
            received.append(control.receive(connection))
            control.send(connection, reply)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread, received


def test_requests_and_replies_arrive_as_sent(tmp_path: Path) -> None:
    status = ComponentStatus(name="kubelet", wanted=True, pid=7, restarts=1)
    thread, received = node_that_replies(tmp_path, Reply(components=(status,)))
    assert control.ask(tmp_path, Request(Verb.STATUS)) == Reply(components=(status,))
    thread.join()
    assert received == [Request(Verb.STATUS)]


def test_a_refusal_is_raised_with_its_message(tmp_path: Path) -> None:
    thread, _ = node_that_replies(tmp_path, Reply(error="there is no component 'x'"))
    with pytest.raises(ClusterError, match="there is no component 'x'"):
        control.ask(tmp_path, Request(Verb.STOP, "x"))
    thread.join()


def test_a_visible_socket_accepts_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: create connected between bind and listen and reported a broken node."""
    seen_before_listen = []
    listen = socket.socket.listen

    def watched(self: socket.socket, backlog: int) -> None:
        seen_before_listen.append((tmp_path / control.SOCKET).exists())
        listen(self, backlog)

    monkeypatch.setattr(socket.socket, "listen", watched)
    with control.listen(tmp_path):
        assert (tmp_path / control.SOCKET).exists()
    assert seen_before_listen == [False]


def test_the_error_for_an_absent_node_names_its_directory(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"does not answer.*logs/init\.log"):
        control.ask(tmp_path, Request(Verb.STATUS))


@pytest.mark.parametrize(
    "message",
    [b"", b"{", b'{"verb": "explode"}', b"x" * (control.MAX_BYTES + 1), json.dumps([1]).encode()],
    ids=["empty", "cut short", "unknown verb", "too long", "no object"],
)
def test_a_malformed_request_is_a_value_error(message: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def write_all() -> None:
            theirs.sendall(message)
            theirs.close()

        writer = threading.Thread(target=write_all)
        writer.start()
        with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error and ours
            control.receive(ours)
        ours.close()
        writer.join()


def test_a_reply_to_a_closed_connection_is_dropped(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        control.send(ours, Reply())
