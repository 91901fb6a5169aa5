"""Provider quotas as a call meets them: waits in the line, refusals, and holds at fallback providers."""

from collections.abc import Callable

from tests.unit.relay.documents import BACKUP, STABLE, provider
from tests.unit.relay.memory import MemoryRelay, call, reply, status

from relay_contract.document import ProviderLimits, Route

Make = Callable[..., MemoryRelay]


async def test_a_hold_is_given_back_when_the_retry_budget_forbids_the_fallback(
    relay_with: Make,
) -> None:
    limited = provider("backup", limits=ProviderLimits(tokens_per_minute=60_000))
    relay = relay_with(
        {"retry_ratio": 0.0, "retry_burst": 1},
        providers=(provider("legacy"), provider("holysheep"), limited),
        routes=(Route(name="chat", stable=STABLE, fallback=(BACKUP,)),),
    )
    client = relay.client()
    for expected in (200, 503):
        stable, backup = relay.provider("legacy"), relay.provider("backup")
        client.send(call())
        stable.send(reply({"error": {"message": "busy"}}, status="503 Service Unavailable"))
        if expected == 200:
            backup.send(reply())
        assert status(client.transport.taken()) == expected

    assert relay.service.admission is not None
    (bucket,) = relay.service.admission._lines["backup"].limiter._slice.tokens
    assert (bucket.open_holds, bucket.held) == (0, 0)
