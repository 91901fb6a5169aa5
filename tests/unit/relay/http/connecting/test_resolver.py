"""Look-ups of provider names: shared, cached, and kept while the name service fails."""

import asyncio
import socket
import time
from typing import Any

import pytest

from relay.http.connecting.resolver import AVOIDED_SECONDS, Resolver


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
    resolver = Resolver(ttl=60.0)
    answers = await asyncio.gather(*(resolver.addresses("p.test", 443) for _ in range(10)))
    assert names.asked == 1
    assert {answer[0] for answer in answers} == {"192.0.2.1", "192.0.2.2"}
    assert all(sorted(answer) == ["192.0.2.1", "192.0.2.2"] for answer in answers)


async def test_a_name_that_stops_resolving_keeps_its_last_addresses(names: NameService) -> None:
    resolver = Resolver(ttl=0.0)
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
    resolver = Resolver(ttl=60.0)
    names.addresses = ()
    with pytest.raises(OSError, match="not known"):
        await resolver.addresses("p.test", 443)
    names.addresses = ("192.0.2.1",)
    assert await resolver.addresses("p.test", 443) == ("192.0.2.1",)


async def test_a_caller_that_gives_up_does_not_stop_the_others(names: NameService) -> None:
    resolver = Resolver(ttl=60.0)
    first = asyncio.ensure_future(resolver.addresses("p.test", 443))
    second = asyncio.ensure_future(resolver.addresses("p.test", 443))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await second) == 2
    assert names.asked == 1


async def test_families_take_turns_and_the_preferred_one_comes_first(names: NameService) -> None:
    names.addresses = ("2001:db8::1", "2001:db8::2", "192.0.2.1")
    resolver = Resolver(ttl=60.0)
    orders = [await resolver.addresses("p.test", 443) for _ in range(2)]
    assert [order[1] for order in orders] == ["192.0.2.1", "192.0.2.1"]
    assert {order[0] for order in orders} == {"2001:db8::1", "2001:db8::2"}


async def test_an_address_that_lost_comes_last_for_a_while(
    names: NameService, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(ttl=1e6)
    await resolver.addresses("p.test", 443)
    resolver.avoid("p.test", 443, ["192.0.2.1"])
    orders = [await resolver.addresses("p.test", 443) for _ in range(4)]
    assert {order[0] for order in orders} == {"192.0.2.2"}
    later = time.monotonic() + AVOIDED_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    orders = [await resolver.addresses("p.test", 443) for _ in range(4)]
    assert {order[0] for order in orders} == {"192.0.2.1", "192.0.2.2"}
