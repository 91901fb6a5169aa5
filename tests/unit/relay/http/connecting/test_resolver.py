"""Look-ups of provider names: shared, cached, and kept while the name service fails."""

import asyncio
import socket
import time
from typing import Any

import pytest

from relay.http.connecting.resolver import AVOIDED_SECONDS, Resolver


def no_own(address: str) -> bool:
    """Knows a pod at 192.0.2.77."""
    return address == "192.0.2.77"


class NameService:
    """Stands in for the event loop's look-up."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in self.addresses]


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> NameService:
    service = NameService("192.0.2.1", "192.0.2.2")
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", service.getaddrinfo)
    return service


async def test_a_name_is_asked_once_for_everyone_and_addresses_take_turns(
    names: NameService,
) -> None:
    resolver = Resolver(ttl=60.0, is_own=no_own)
    answers = await asyncio.gather(*(resolver.addresses("p.test", 443) for _ in range(10)))
    assert names.asked == 1
    assert {answer[0] for answer in answers} == {"192.0.2.1", "192.0.2.2"}
    assert all(sorted(answer) == ["192.0.2.1", "192.0.2.2"] for answer in answers)


async def test_a_name_that_stops_resolving_keeps_its_last_addresses(names: NameService) -> None:
    resolver = Resolver(ttl=0.0, is_own=no_own)
    await resolver.addresses("p.test", 443)
    names.addresses = ()
    for _ in range(3):
        assert sorted(await resolver.addresses("p.test", 443)) == ["192.0.2.1", "192.0.2.2"]
    assert names.asked == 4
    names.addresses = ("192.0.2.9",)
    assert await resolver.addresses("p.test", 443) == ("192.0.2.9",)


async def test_a_name_that_never_resolved_is_an_error_and_is_asked_again(
    names: NameService,
) -> None:
    resolver = Resolver(ttl=60.0, is_own=no_own)
    names.addresses = ()
    with pytest.raises(OSError, match="not known"):
        await resolver.addresses("p.test", 443)
    names.addresses = ("192.0.2.1",)
    assert await resolver.addresses("p.test", 443) == ("192.0.2.1",)


async def test_a_caller_that_gives_up_does_not_stop_the_others(names: NameService) -> None:
    resolver = Resolver(ttl=60.0, is_own=no_own)
    first = asyncio.ensure_future(resolver.addresses("p.test", 443))
    second = asyncio.ensure_future(resolver.addresses("p.test", 443))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await second) == 2
    assert names.asked == 1


async def test_families_take_turns_and_the_preferred_one_comes_first(names: NameService) -> None:
    names.addresses = ("2001:db8::1", "2001:db8::2", "192.0.2.1")
    resolver = Resolver(ttl=60.0, is_own=no_own)
    orders = [await resolver.addresses("p.test", 443) for _ in range(2)]
    assert [order[1] for order in orders] == ["192.0.2.1", "192.0.2.1"]
    assert {order[0] for order in orders} == {"2001:db8::1", "2001:db8::2"}


async def test_an_address_that_lost_comes_last_for_a_while(
    names: NameService, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(ttl=1e6, is_own=no_own)
    await resolver.addresses("p.test", 443)
    resolver.avoid("p.test", 443, ["192.0.2.1"])
    orders = [await resolver.addresses("p.test", 443) for _ in range(4)]
    assert {order[0] for order in orders} == {"192.0.2.2"}
    later = time.monotonic() + AVOIDED_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    orders = [await resolver.addresses("p.test", 443) for _ in range(4)]
    assert {order[0] for order in orders} == {"192.0.2.1", "192.0.2.2"}


INNER = (
    "127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "169.254.169.254", "fe80::1%eth0", "224.0.0.1", "192.0.2.77"
)  # fmt: skip


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize(
    "host", ["p.test", "ip6-loopback", "127.1", "0x7f000001", "localhost.p.test"]
)
async def test_a_name_leads_neither_to_the_pod_itself_nor_to_its_link(
    names: NameService, host: str, inner: str
) -> None:
    names.addresses = (inner,)
    resolver = Resolver(ttl=0.0, is_own=no_own)
    with pytest.raises(OSError, match=f"{host} leads to .*: relays are not led there"):
        await resolver.addresses(host, 443)
    names.addresses = (inner, "192.0.2.1")
    assert await resolver.addresses(host, 443) == ("192.0.2.1",)
    # turned inwards later: what it was before is no way either
    names.addresses = (inner,)
    with pytest.raises(OSError, match="are not led there"):
        await resolver.addresses(host, 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "a.localhost.", "::1"])
async def test_what_says_openly_that_it_is_inside_is_the_operators_to_refuse(
    names: NameService, host: str
) -> None:
    names.addresses = ("127.0.0.1",)
    assert await Resolver(ttl=60.0, is_own=no_own).addresses(host, 443) == ("127.0.0.1",)


async def test_no_provider_is_at_the_pods_own_address(names: NameService) -> None:
    names.addresses = ("192.0.2.77",)
    with pytest.raises(OSError, match="this pod itself"):
        await Resolver(ttl=60.0, is_own=no_own).addresses("192.0.2.77", 8081)
