"""Providers with several addresses, some of which are out of order."""

import contextlib
import os
import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.blackbox.process import python_module
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import Platform, provider, route
from tests.blackbox.upstream import Upstream

RelayOf = Callable[..., Relay]

HOST = "provider.localhost"
"""A name that says where it leads, which is the operator's to refuse."""
PUBLIC = "provider.test"
NAMES = (
    'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/host.conf" /etc/host.conf && exec "$@"'
)


@contextlib.contextmanager
def dropping_packets(address: str, port: int) -> Iterator[None]:
    """Makes the address drop whatever asks for a connection, as a firewall does: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect((address, port))
        yield


@pytest.fixture
def relay_of(
    new_unforked_relay: NewRelay,
    platform: Platform,
    stable: Upstream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> RelayOf:
    """Starts a relay whose provider has these addresses, in a mount namespace with a hosts file of its own."""

    def start(*addresses: str, host: str = HOST) -> Relay:
        (tmp_path / "hosts").write_text("".join(f"{address} {host}\n" for address in addresses))
        (tmp_path / "host.conf").write_text("multi on\n")
        command = shlex.split(os.environ.get("RELAY_BLACKBOX_COMMAND", "")) or python_module(
            "relay"
        )
        inside = [
            "unshare",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            NAMES,
            str(tmp_path),
            *command,
        ]
        monkeypatch.setenv("RELAY_BLACKBOX_COMMAND", shlex.join(inside))
        there = provider("stable", f"http://{host}:{stable.port}/v1")
        document = platform.document(providers=[there], routes=[route("stable")])
        # without a connection that is open already
        return new_unforked_relay(
            document=document, upstream_warm_connections="0", connect_timeout_seconds="2"
        )

    return start


def test_every_call_is_served_where_one_of_the_addresses_drops_packets(
    relay_of: RelayOf, stable: Upstream
) -> None:
    stable.behave(close_connection=True)
    with dropping_packets("127.0.0.2", stable.port), dropping_packets("127.0.0.3", stable.port):
        relay = relay_of("127.0.0.2", "127.0.0.1", "127.0.0.3")
        assert [relay.chat().status for _ in range(10)] == [200] * 10


def test_every_call_is_served_where_one_of_the_addresses_refuses(
    relay_of: RelayOf, stable: Upstream
) -> None:
    stable.behave(close_connection=True)
    relay = relay_of("127.0.0.2", "127.0.0.1", "::1")
    assert [relay.chat().status for _ in range(10)] == [200] * 10


def test_a_call_fails_in_time_where_every_address_drops_packets(
    relay_of: RelayOf, stable: Upstream
) -> None:
    with dropping_packets("127.0.0.2", stable.port), dropping_packets("127.0.0.3", stable.port):
        relay = relay_of("127.0.0.2", "127.0.0.3")
        answer = relay.chat()
        assert (answer.status, answer.error()["code"]) == (502, "upstream_unreachable")


@pytest.mark.parametrize("inner", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0"])
def test_a_name_leads_no_call_to_the_pod_itself(
    relay_of: RelayOf, stable: Upstream, inner: str
) -> None:
    relay = relay_of(inner, host=PUBLIC)
    answer = relay.chat()
    assert (answer.status, answer.error()["code"]) == (502, "upstream_unreachable")
    assert stable.calls() == 0


@pytest.mark.parametrize("spelling", ["127.1", "0x7f000001", "2130706433"])
def test_another_spelling_of_loopback_leads_no_call_to_the_pod_itself(
    relay_of: RelayOf, stable: Upstream, spelling: str
) -> None:
    relay = relay_of(host=spelling)
    assert relay.chat().status == 502
    assert stable.calls() == 0
