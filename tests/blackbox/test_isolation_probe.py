"""The relay connects to what the operator asks for, once, and to nothing that anybody else asks for."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.blackbox.relays import Relay
from tests.blackbox.tenant import TENANT_UID, Signer
from tests.blackbox.wire import Answer

from relay_contract.endpoints import HEALTH_PATH, ISOLATION_PATH
from relay_contract.isolation_probe import (
    MAX_REQUEST_BYTES,
    MAX_TARGETS,
    Outcome,
    ProbeAnswer,
    ProbeRequest,
    Target,
    TargetKind,
)


def own_address() -> str:
    """Returns an address of this machine that is not its loopback: no relay connects to that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        # nothing is sent: the kernel only chooses the address that it would send from
        asked.connect(("192.0.2.1", 9))
        return str(asked.getsockname()[0])


class Listener:
    """A port that counts who connects."""

    def __init__(self, *, backlog: int = 64) -> None:
        self._socket = socket.create_server((own_address(), 0), backlog=backlog)
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])

    def arrived(self) -> list[bytes]:
        """Returns what each connection brought so far, and forgets them."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    connection.settimeout(2)
                    found.append(connection.recv(64))
        return found

    def fill(self) -> list[socket.socket]:
        """Takes all places of the line for connections: whoever comes now gets no answer."""
        waiting = []
        for _ in range(8):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((own_address(), self.port))
            waiting.append(one)
        time.sleep(0.1)
        return waiting

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    opened = Listener()
    yield opened
    opened.close()


def target(port: int) -> Target:
    return Target(kind=TargetKind.NODE_PORT, address=own_address(), port=port)


def challenge(relay: Relay) -> str:
    return str(relay.admin("GET", ISOLATION_PATH).json()["challenge"])


def request(relay: Relay, *targets: Target, uid: str = TENANT_UID) -> ProbeRequest:
    return ProbeRequest(tenant_uid=uid, challenge=challenge(relay), targets=targets)


def post(relay: Relay, text: str) -> Answer:
    return relay.admin("POST", ISOLATION_PATH, text.encode())


def code(answer: Answer) -> str:
    return str(answer.json()["error"]["code"])


def test_the_relay_tells_how_each_attempt_ended_and_sends_nothing(
    relay: Relay, listener: Listener
) -> None:
    full = Listener(backlog=0)
    with socket.create_server((own_address(), 0)) as free:
        closed_port = int(free.getsockname()[1])
    waiting = full.fill()
    try:
        asked = request(relay, target(listener.port), target(closed_port), target(full.port))
        answer = post(relay, relay.signer.sealed_probe(asked))
    finally:
        for one in waiting:
            one.close()
        full.close()
    assert answer.status == 200, answer
    told = ProbeAnswer.model_validate(answer.json())
    assert told.outcomes == (Outcome.CONNECTED, Outcome.REFUSED, Outcome.NO_ANSWER)
    assert told.serving
    assert listener.arrived() == [b""]


def test_a_request_is_taken_once(relay: Relay, listener: Listener) -> None:
    sealed = relay.signer.sealed_probe(request(relay, target(listener.port)))
    assert post(relay, sealed).status == 200
    again = post(relay, sealed)
    assert (again.status, code(again)) == (409, "stale_challenge")
    assert len(listener.arrived()) == 1


def test_nobody_but_the_operator_makes_the_relay_connect(relay: Relay, listener: Listener) -> None:
    asked = request(relay, target(listener.port))
    stranger = Signer()
    # what the operator signs for another purpose is no request either
    payload = asked.model_dump_json(by_alias=True)
    forged = {
        "another key": stranger.sealed_probe(asked),
        "signed as a document": relay.signer.sealed_text(payload),
        "no signature": json.dumps({"payload": payload, "signature": ""}),
        "a document": relay.signer.sealed_text("{}"),
    }
    for name, text in forged.items():
        answer = post(relay, text)
        assert (answer.status, code(answer)) == (403, "bad_signature"), name
    for name, text in {"no JSON": "[[[[", "a list": "[]", "nothing": ""}.items():
        answer = post(relay, text)
        assert (answer.status, code(answer)) == (400, "bad_envelope"), name
    other = relay.signer.sealed_probe(request(relay, target(listener.port), uid="another"))
    assert code(post(relay, other)) == "wrong_tenant"
    assert listener.arrived() == []
    assert post(relay, relay.signer.sealed_probe(asked)).status == 200


def test_a_request_is_bounded(relay: Relay) -> None:
    assert post(relay, "a" * (MAX_REQUEST_BYTES + 1)).status == 413
    full = Listener(backlog=0)
    waiting = full.fill()
    try:
        asked = request(relay, *[target(full.port)] * MAX_TARGETS)
        sealed = relay.signer.sealed_probe(asked)
        with ThreadPoolExecutor(4) as many:
            answers = list(many.map(lambda _: post(relay, sealed), range(4)))
            # and the kubelet is answered meanwhile
            assert relay.admin("GET", HEALTH_PATH).status == 200
    finally:
        for one in waiting:
            one.close()
        full.close()
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    [taken] = [answer for answer in answers if answer.status == 200]
    assert set(ProbeAnswer.model_validate(taken.json()).outcomes) == {Outcome.NO_ANSWER}
