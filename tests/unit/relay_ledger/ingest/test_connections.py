"""Connections are bounded in number and in time, and what bounds them is told."""

import time

import pytest

from relay_ledger.ingest.listening.connections import (
    HEAD_SECONDS,
    IDLE_SECONDS,
    OWN_DESCRIPTORS,
    PORTS,
    REQUEST_SECONDS,
    Connection,
    Connections,
    Phase,
    places,
)


class Peer:
    """A connection of these tests."""

    def __init__(self) -> None:
        self.ends = 0

    def end(self) -> None:
        self.ends += 1


class Port:
    """Connections under a clock of their own."""

    def __init__(self, most: int = 4, most_per_address: int = 3) -> None:
        self.now = 0.0
        self.ended: list[tuple[str, str]] = []
        self.connections = Connections(
            most=most,
            most_per_address=most_per_address,
            ended=lambda reason, address: self.ended.append((reason, address)),
            clock=lambda: self.now,
        )

    def open(self, address: str) -> tuple[Peer, Connection | None]:
        peer = Peer()
        self.now += 1
        return peer, self.connections.admit(peer, address)

    def admitted(self, address: str) -> tuple[Peer, Connection]:
        peer, connection = self.open(address)
        assert connection is not None
        return peer, connection


@pytest.mark.parametrize(
    ("phase", "seconds", "reason"),
    [
        (Phase.IDLE, IDLE_SECONDS, "idle"),
        (Phase.HEAD, HEAD_SECONDS, "slow_head"),
        (Phase.REQUEST, REQUEST_SECONDS, "slow_request"),
    ],
)
def test_each_phase_may_last_so_long(phase: Phase, seconds: float, reason: str) -> None:
    port = Port()
    peer, connection = port.admitted("a")
    port.connections.moves_to(connection, phase)
    port.now += seconds
    port.connections.look()
    assert peer.ends == 0
    port.now += 0.1
    port.connections.look()
    assert peer.ends == 1
    assert port.ended == [(reason, "a")]
    assert len(port.connections) == 0


def test_an_address_has_so_many_and_others_have_theirs() -> None:
    port = Port(most=10)
    for _ in range(3):
        port.connections.moves_to(port.admitted("a")[1], Phase.REQUEST)
    assert [port.open("a")[1] for _ in range(2)] == [None, None]
    assert port.open("b")[1] is not None
    assert port.ended == [("address", "a")] * 2
    assert len(port.connections) == 4


def test_an_address_that_has_as_many_as_it_may_gives_up_the_one_that_waits_longest() -> None:
    port = Port(most=10)
    peers = [port.admitted("a") for _ in range(3)]
    port.connections.moves_to(peers[0][1], Phase.REQUEST)
    # this one was used since: the third waits longer
    port.now += 1
    port.connections.moves_to(peers[1][1], Phase.REQUEST)
    port.connections.moves_to(peers[1][1], Phase.IDLE)
    other, _ = port.admitted("b")
    assert port.open("a")[1] is not None
    assert [peer.ends for peer, _ in peers] == [0, 0, 1]
    assert other.ends == 0
    assert port.ended == [("address", "a")]
    # the library tells of those that were ended as well
    port.connections.leaves(peers[2][1])
    port.connections.moves_to(peers[2][1], Phase.IDLE)
    assert len(port.connections) == 4
    assert port.open("a")[1] is not None
    assert [peer.ends for peer, _ in peers] == [0, 1, 1]


def test_where_all_places_are_taken_the_address_with_most_gives_up_the_one_that_waits_longest() -> (
    None
):
    port = Port()
    peers = [port.admitted("a") for _ in range(3)]
    port.connections.moves_to(peers[0][1], Phase.REQUEST)
    port.admitted("b")
    assert port.open("c")[1] is not None
    assert [peer.ends for peer, _ in peers] == [0, 1, 0]
    assert port.ended == [("full", "a")]
    assert len(port.connections) == 4


def test_a_request_in_hand_is_not_ended_for_another() -> None:
    port = Port()
    for address in ("a", "a", "b", "b"):
        port.connections.moves_to(port.admitted(address)[1], Phase.REQUEST)
    assert port.open("c")[1] is None
    assert port.ended == [("full", "c")]


def test_of_addresses_that_have_as_many_the_one_that_waits_longest_is_ended() -> None:
    port = Port()
    peers = [port.admitted(address) for address in ("a", "b", "a", "b")]
    port.connections.moves_to(peers[0][1], Phase.HEAD)
    assert port.open("c")[1] is not None
    assert [peer.ends for peer, _ in peers] == [0, 1, 0, 0]


def test_an_address_without_a_connection_that_waits_is_passed_over() -> None:
    port = Port()
    for _ in range(3):
        port.connections.moves_to(port.admitted("a")[1], Phase.REQUEST)
    peer, _ = port.admitted("b")
    assert port.open("c")[1] is not None
    assert (peer.ends, port.ended) == (1, [("full", "b")])


@pytest.mark.parametrize("busy", [True, False])
def test_refusing_or_making_room_does_not_look_at_every_connection(busy: bool) -> None:
    many = 4096
    port = Port(most=many, most_per_address=many)
    for number in range(many):
        _, connection = port.admitted(f"10.0.0.{number % 64}")
        if busy:
            port.connections.moves_to(connection, Phase.REQUEST)
    started = time.process_time()
    for _ in range(100):
        assert (port.open("10.0.1.1")[1] is None) is busy
    # a look at each of them for each address took more than 10 s
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("descriptors", "port", "address"),
    [(2**20, 4096, 512), (8256, 4096, 512), (8255, 4095, 512), (1024, 480, 240), (256, 96, 48), (16, 2, 1)],
)  # fmt: skip
def test_no_address_has_all_places_where_files_bound_them(
    descriptors: int, port: int, address: int
) -> None:
    assert places(descriptors, most=4096, most_per_address=512) == (port, address)


def test_both_ports_leave_the_process_files_of_its_own() -> None:
    for descriptors in range(128, 10_000, 7):
        port, address = places(descriptors, most=4096, most_per_address=512)
        assert descriptors - PORTS * port >= OWN_DESCRIPTORS
        assert address < port
