"""Where the webhook connects: to the address that was checked, under the name that it was asked for."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from tests.blackbox.authority import Authority
from tests.unit.relay_operator.cluster.webhook.test_sender import (
    a_message,
    ended,
    running,
    until,
)
from tests.unit.relay_operator.cluster.webhook.test_signature import SECRET

from relay_operator.cluster.webhook.guarded_transport import AddressRefused, GuardedTransport
from relay_operator.cluster.webhook.sender import Receiver, Webhook

URL = "https://receiver.test/hook"
PUBLIC, OTHER, INNER = "203.0.114.7", "2606:4700::7", "10.96.0.7"


class Noted(httpx.AsyncBaseTransport):
    """Notes where requests go, and fails to connect to some addresses."""

    def __init__(self, *, closed: Sequence[str] = ()) -> None:
        self.requests: list[httpx.Request] = []
        self._closed = closed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host in self._closed:
            raise httpx.ConnectError("refused")
        return httpx.Response(204)

    def hosts(self) -> list[str]:
        return [request.url.host for request in self.requests]


class Names:
    """A name service that answers each question with the next of these."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = iter(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return next(self._answers)


async def post(transport: httpx.AsyncBaseTransport, url: str = URL) -> int:
    async with httpx.AsyncClient(transport=transport) as client:
        return (await client.post(url, content=b"{}")).status_code


async def test_it_connects_to_the_address_that_was_checked_under_the_name_of_the_url() -> None:
    inner, names = Noted(), Names([PUBLIC])
    assert (
        await post(GuardedTransport(inner, resolve=names), "https://receiver.test:8443/h?a=1")
        == 204
    )
    [sent] = inner.requests
    assert str(sent.url) == f"https://{PUBLIC}:8443/h?a=1"
    assert sent.headers["host"] == "receiver.test:8443"
    assert sent.extensions["sni_hostname"] == "receiver.test"
    assert names.asked == [("receiver.test", 8443)]


async def test_a_name_that_is_turned_inwards_later_leads_nowhere() -> None:
    inner, names = Noted(), Names([PUBLIC], [INNER])
    transport = GuardedTransport(inner, resolve=names)
    assert await post(transport) == 204
    with pytest.raises(AddressRefused, match=r"10\.96\.0\.7 \(private\).*webhook\.allowedCIDRs"):
        await post(transport)
    assert inner.hosts() == [PUBLIC]


async def test_of_several_addresses_those_that_may_be_are_tried_in_their_order() -> None:
    inner = Noted(closed=[PUBLIC])
    transport = GuardedTransport(inner, resolve=Names([INNER, PUBLIC, "127.0.0.1", OTHER]))
    assert await post(transport) == 204
    assert inner.hosts() == [PUBLIC, OTHER]
    # the first one has less than the time of all
    assert [one.extensions["timeout"]["connect"] for one in inner.requests] == [2.0, 5.0]


async def test_the_last_address_tells_why_none_was_connected_to() -> None:
    inner = Noted(closed=[PUBLIC, OTHER])
    with pytest.raises(httpx.ConnectError):
        await post(GuardedTransport(inner, resolve=Names([PUBLIC, OTHER])))


async def test_a_block_that_is_allowed_is_connected_to() -> None:
    inner = Noted()
    transport = GuardedTransport(
        inner,
        allowed_cidrs=("10.96.0.0/12",),
        cluster_cidrs=("10.0.0.0/8",),
        resolve=Names([INNER], ["10.1.0.1"]),
    )
    assert await post(transport) == 204
    with pytest.raises(AddressRefused, match="an address of this cluster"):
        await post(transport)


@pytest.mark.parametrize("answer", [[], ["fe80::1%eth0"]])
async def test_a_name_without_an_address_that_may_be_is_refused(answer: list[str]) -> None:
    with pytest.raises(AddressRefused):
        await post(GuardedTransport(Noted(), resolve=Names(answer)))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"])
async def test_an_address_in_the_url_is_checked_too(host: str) -> None:
    inner = Noted()
    with pytest.raises(AddressRefused, match="loopback"):
        await post(GuardedTransport(inner), f"http://{host}/hook")
    assert inner.requests == []


async def test_tls_is_verified_for_the_name(tmp_path: Path) -> None:
    """A real server behind a Unix socket, which stands in for the network alone."""
    for host, answers in (("receiver.test", True), ("stranger.test", False)):
        authority = Authority()
        authority.issue(tmp_path, host=host)
        (tmp_path / "ca.crt").write_text(authority.pem)
        async with served(tmp_path) as socket:
            context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
            inner = httpx.AsyncHTTPTransport(uds=socket, verify=context)
            transport = GuardedTransport(inner, resolve=Names([PUBLIC]))
            if answers:
                assert await post(transport) == 200
            else:
                with pytest.raises(httpx.ConnectError, match="certificate"):
                    await post(transport)


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        assert request.host == "receiver.test"
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    await web.UnixSite(runner, str(folder / "it.sock"), ssl_context=context).start()
    try:
        yield str(folder / "it.sock")
    finally:
        await runner.cleanup()


async def test_a_webhook_that_leads_inwards_sends_nothing_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    receiver = Receiver(url="http://127.0.0.1:9/hook", secret_file=str(tmp_path / "secret"))
    webhook, before = Webhook(receiver), ended("delivered")
    async with running(webhook):
        webhook.tell(a_message())
        await until(lambda: "webhook message not delivered" in caplog.text)
    [told] = [one for one in caplog.records if "not delivered" in one.message]
    assert "127.0.0.1 (loopback)" in vars(told)["why"]
    assert ended("delivered") == before
