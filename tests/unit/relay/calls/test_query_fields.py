"""Parameters of a query, which are read one by one for each provider."""

import pytest
from tests.unit.relay.memory import MemoryRelay, call, error, status

from relay.calls.tenants.caller import MAX_QUERY_FIELDS

PATH = "/v1/chat/completions"


async def test_a_query_of_very_many_parameters_is_refused_before_anybody_waits(
    relay: MemoryRelay,
) -> None:
    client, upstream = relay.client(), relay.provider()
    answer = client.send(call(path=f"{PATH}?{'a&' * 7_500}"))
    assert (status(answer), error(answer)["code"]) == (414, "uri_too_long")
    assert upstream.transport.taken() == b""


@pytest.mark.parametrize("more", [0, 1])
async def test_the_bound_is_a_number(relay: MemoryRelay, more: int) -> None:
    client, upstream = relay.client(), relay.provider()
    query = "&".join(f"p{number}=1" for number in range(MAX_QUERY_FIELDS + more))
    client.send(call(path=f"{PATH}?{query}"))
    assert (query.encode() in upstream.transport.taken()) == (not more)
