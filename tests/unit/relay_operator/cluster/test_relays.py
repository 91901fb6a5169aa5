"""Pushing documents: the admin port's answers, and pods that give none."""

import json
from collections.abc import Callable

import httpx
import pytest
from tests.unit.relay_operator.cluster.pods import a_pod

from relay_operator.cluster.relays import Relays
from relay_operator.errors import DocumentRefused, Unavailable

ANSWER = {"digest": "d", "generation": 4, "workers": 2, "missingKeys": ["p"]}


def told(status: int, body: str) -> httpx.Response:
    """Returns an answer that is read as it arrives."""
    return httpx.Response(status, stream=httpx.ByteStream(body.encode()))


def relays_over(answer: Callable[[httpx.Request], httpx.Response]) -> Relays:
    return Relays(timeout_seconds=1, transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("ip", "host"), [("10.0.0.1", "10.0.0.1"), ("2001:db8::1", "[2001:db8::1]")]
)
async def test_a_document_is_put_to_the_pods_admin_port(ip: str, host: str) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return told(200, json.dumps(ANSWER))

    relays = relays_over(answer)
    await relays.push(a_pod(ip), "sealed")
    await relays.close()
    assert (seen[0].method, str(seen[0].url)) == ("PUT", f"http://{host}:8081/config")
    assert seen[0].content == b"sealed"
    assert seen[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [200, 409])
async def test_what_is_in_force_is_told_also_when_the_pod_keeps_a_newer_one(status: int) -> None:
    relays = relays_over(lambda _: told(status, json.dumps(ANSWER | {"later": "field"})))
    acknowledged = (await relays.push(a_pod(), "sealed")).acknowledgement
    await relays.close()
    assert (acknowledged.digest, acknowledged.generation) == ("d", 4)
    assert tuple(acknowledged.missing_keys) == ("p",)


async def test_a_document_the_pod_cannot_use_is_told_with_the_pods_words() -> None:
    relays = relays_over(lambda _: told(422, "wrong_tenant"))
    with pytest.raises(DocumentRefused, match=r"relay-finance/relay-1 refused .* 422 wrong_tenant"):
        await relays.push(a_pod(), "sealed")
    await relays.close()


@pytest.mark.parametrize("body", ["", "<html></html>", "[]", '{"digest": "d"}', "[" * 5000])
async def test_a_port_that_answers_something_else_is_no_relay(body: str) -> None:
    relays = relays_over(lambda _: told(200, body))
    with pytest.raises(Unavailable, match="relay-finance/relay-1"):
        await relays.push(a_pod(), "sealed")
    await relays.close()


async def test_a_pod_that_does_not_answer_is_unavailable() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("too slow", request=request)

    relays = relays_over(refuse)
    with pytest.raises(Unavailable, match="nothing came in time"):
        await relays.push(a_pod(), "sealed")
    await relays.close()


async def test_the_document_that_a_pod_keeps_instead_comes_with_its_answer() -> None:
    kept = {"payload": "text", "signature": "AAAA"}
    relays = relays_over(lambda _: told(409, json.dumps(ANSWER | {"inForce": kept})))
    answer = await relays.push(a_pod(), "sealed")
    await relays.close()
    assert json.loads(answer.kept) == kept


@pytest.mark.parametrize(
    "claim",
    [
        {"generation": 2**70},
        {"generation": -1},
        {"workers": 10**9},
        {"digest": "d" * 100},
        {"missingKeys": ["p"] * 2000},
        {"missingKeys": ["p" * 300]},
    ],
    ids=["generation", "negative", "workers", "digest", "keys", "key"],
)
async def test_an_answer_out_of_range_is_none(claim: dict[str, object]) -> None:
    relays = relays_over(lambda _: told(200, json.dumps(ANSWER | claim)))
    with pytest.raises(Unavailable, match="did not answer as a relay does"):
        await relays.push(a_pod(), "sealed")
    await relays.close()
