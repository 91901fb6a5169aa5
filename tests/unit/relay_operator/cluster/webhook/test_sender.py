"""Delivery: against a real server for what can go wrong on a connection, in virtual time for what takes long."""

import asyncio
import base64
import contextlib
import itertools
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from tests.blackbox.authority import Authority
from tests.unit.relay_operator.cluster.webhook.test_signature import SECRET
from tests.unit.relay_operator.virtual_time import in_virtual_time, running_clock

from relay_operator.cluster.webhook import sender, signature
from relay_operator.cluster.webhook.message import Message
from relay_operator.cluster.webhook.sender import Receiver, Webhook

HOST = "https://receiver.test/hooks/s3cret-path"
PATIENCE_SECONDS = 30.0


def a_message(number: int = 1) -> Message:
    return Message(id=f"msg_{number}", type="relayroute.started", body=b'{"n":%d}' % number)


def ended(outcome: str) -> float:
    name = "relay_operator_webhook_messages_total"
    return REGISTRY.get_sample_value(name, {"outcome": outcome}) or 0.0


@contextlib.asynccontextmanager
async def running(webhook: Webhook) -> AsyncIterator[None]:
    task = asyncio.create_task(webhook.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# -- a real server over TLS ---------------------------------------------------------------------------------------------


class Place:
    """A receiver behind TLS on a Unix socket, and where its secret and its authority are."""

    def __init__(self, folder: Path, *, host: str = "receiver.test") -> None:
        authority = Authority()
        authority.issue(folder, host=host)
        (folder / "ca.crt").write_text(authority.pem)
        (folder / "secret").write_text(SECRET)
        self.folder = folder
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.arrived = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serving(
        self, answer: Callable[[web.Request], web.StreamResponse] | None = None
    ) -> AsyncIterator[Webhook]:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.requests.append(
                ({k.lower(): v for k, v in request.headers.items()}, await request.read())
            )
            self.arrived.set()
            return answer(request) if answer is not None else web.Response()

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / "tls.crt", self.folder / "tls.key")
        socket = str(self.folder / "receiver.sock")
        await web.UnixSite(runner, socket, ssl_context=context).start()
        receiver = Receiver(
            url=HOST,
            secret_file=str(self.folder / "secret"),
            ca_file=str(self.folder / "ca.crt"),
        )
        webhook = Webhook(
            receiver,
            transport=lambda verify: httpx.AsyncHTTPTransport(uds=socket, verify=verify),
        )
        try:
            async with running(webhook):
                yield webhook
        finally:
            await runner.cleanup()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - what the server has seen has no event
            await asyncio.sleep(0.01)


async def test_a_message_arrives_signed_over_verified_tls(tmp_path: Path) -> None:
    place, before = Place(tmp_path), ended("delivered")
    async with place.serving() as webhook:
        webhook.tell(a_message())
        await until(lambda: ended("delivered") == before + 1)
    [(headers, body)] = place.requests
    assert json.loads(body) == {"n": 1}
    assert headers["content-type"] == "application/json"
    secrets = signature.read_secrets(str(tmp_path / "secret"))
    at = int(headers["webhook-timestamp"])
    wanted = signature.headers(secrets, id_="msg_1", at=at, body=body)
    assert {name: headers[name] for name in wanted} == wanted


async def test_an_answer_that_never_ends_is_not_read(tmp_path: Path) -> None:
    place, before = Place(tmp_path), ended("delivered")

    class Endless(web.StreamResponse):
        async def prepare(self, request: web.BaseRequest) -> web.StreamResponse:  # type: ignore[override]
            await super().prepare(request)
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                while True:
                    await self.write(b"x" * 65536)
            return self

    async with place.serving(lambda _: Endless()) as webhook:
        webhook.tell(a_message(1))
        webhook.tell(a_message(2))
        await until(lambda: ended("delivered") == before + 2)


async def test_a_receiver_with_another_name_gets_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, host="stranger.test")
    failed = "relay_operator_webhook_failed_attempts_total"
    before = REGISTRY.get_sample_value(failed) or 0.0
    async with place.serving() as webhook:
        webhook.tell(a_message())
        await until(lambda: (REGISTRY.get_sample_value(failed) or 0.0) > before)
    assert place.requests == []


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    before = ended("delivered")
    answers = iter([web.Response(status=307, headers={"location": "/elsewhere"}), web.Response()])
    paths: list[str] = []

    def answer(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        return next(answers)

    async with place.serving(answer) as webhook:
        webhook.tell(a_message())
        await until(lambda: ended("delivered") == before + 1)
    assert paths == ["/hooks/s3cret-path"] * 2


# -- in virtual time ----------------------------------------------------------------------------------------------------


class Scripted(httpx.AsyncBaseTransport):
    """Answers with a status, a function of the message's id, or hangs where that is None."""

    def __init__(self, status: Callable[[str], int | None], **headers: str) -> None:
        self._status = status
        self._headers = headers
        self.attempts: list[tuple[float, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        id_ = request.headers["webhook-id"]
        self.attempts.append((asyncio.get_running_loop().time(), id_))
        status = self._status(id_)
        if status is None:
            await asyncio.sleep(3600)
        return httpx.Response(status or 500, headers=self._headers)

    def pauses(self) -> list[int]:
        times = [at for at, _ in self.attempts]
        return [round(later - at) for at, later in itertools.pairwise(times)]


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    (tmp_path / "secret").write_text(SECRET)
    return str(tmp_path / "secret")


def a_webhook(transport: httpx.AsyncBaseTransport, secret_file: str) -> Webhook:
    receiver = Receiver(url=HOST, secret_file=secret_file)
    return Webhook(receiver, clock=running_clock(), transport=lambda _: transport)


@pytest.fixture(autouse=True)
def _without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    # nothing would wake a loop in virtual time when a thread is done
    async def at_once(function: Callable[..., object], *args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    monkeypatch.setattr(asyncio, "to_thread", at_once)


@in_virtual_time
async def test_a_message_is_tried_again_after_pauses_that_double_for_an_hour(
    secret_file: str,
) -> None:
    transport, before = Scripted(lambda _: 500), ended("given_up")
    webhook = a_webhook(transport, secret_file)
    async with running(webhook):
        webhook.tell(a_message())
        await asyncio.sleep(2 * sender.LONGEST_SECONDS)
    pauses = transport.pauses()
    assert pauses[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert set(pauses[9:]) == {300}
    assert transport.attempts[-1][0] - transport.attempts[0][0] <= sender.LONGEST_SECONDS
    assert ended("given_up") == before + 1


@in_virtual_time
async def test_a_redirect_to_what_is_no_address_is_an_answer_like_others(
    secret_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    for location in ("javascript:x", "http://xn--/"):
        webhook = a_webhook(Scripted(lambda _: 307, location=location), secret_file)
        async with running(webhook):
            webhook.tell(a_message())
            await asyncio.sleep(0.5)
        [told] = caplog.records
        assert (told.levelname, vars(told)["why"]) == ("WARNING", "the receiver answered 307")
        caplog.clear()


@in_virtual_time
async def test_others_go_first_while_one_message_is_refused(secret_file: str) -> None:
    transport = Scripted(lambda id_: 400 if id_ == "msg_1" else 204)
    webhook = a_webhook(transport, secret_file)
    async with running(webhook):
        for number in (1, 2, 3):
            webhook.tell(a_message(number))
        await asyncio.sleep(0.5)
    assert [id_ for _, id_ in transport.attempts] == ["msg_1", "msg_2", "msg_3"]


@in_virtual_time
async def test_a_receiver_that_hangs_costs_ten_seconds_an_attempt(secret_file: str) -> None:
    transport = Scripted(lambda _: None)
    webhook = a_webhook(transport, secret_file)
    async with running(webhook):
        webhook.tell(a_message())
        await asyncio.sleep(60)
    assert transport.pauses()[:3] == [11, 12, 14]


@in_virtual_time
async def test_a_receiver_that_asks_for_time_gets_it_up_to_five_minutes(secret_file: str) -> None:
    for asked, given in (("120", 120), ("99999", 300), ("soon", 1), ("-5", 1)):
        transport = Scripted(lambda _: 503, **{"retry-after": asked})
        webhook = a_webhook(transport, secret_file)
        async with running(webhook):
            webhook.tell(a_message())
            await asyncio.sleep(400)
        assert transport.pauses()[0] == given, asked


@in_virtual_time
async def test_the_oldest_give_way_when_too_many_wait(
    secret_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    transport, before = Scripted(lambda _: 200), ended("dropped")
    webhook = a_webhook(transport, secret_file)
    for number in range(sender.MOST_WAITING + 2):
        webhook.tell(a_message(number))
    assert ended("dropped") == before + 2
    assert [record.__dict__["id"] for record in caplog.records] == ["msg_0", "msg_1"]
    async with running(webhook):
        await asyncio.sleep(1)
    assert len(transport.attempts) == sender.MOST_WAITING
    assert transport.attempts[0][1] == "msg_2"


@in_virtual_time
async def test_a_message_that_waits_already_is_not_queued_again(secret_file: str) -> None:
    transport = Scripted(lambda _: 200)
    webhook = a_webhook(transport, secret_file)
    webhook.tell(a_message())
    webhook.tell(a_message())
    async with running(webhook):
        await asyncio.sleep(1)
    assert len(transport.attempts) == 1


@in_virtual_time
async def test_a_receiver_that_is_gone_gets_nothing_any_more(
    secret_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    transport, before = Scripted(lambda _: 410), ended("refused")
    webhook = a_webhook(transport, secret_file)
    async with running(webhook):
        webhook.tell(a_message(1))
        webhook.tell(a_message(2))
        await asyncio.sleep(600)
        outcomes: list[str] = []
        webhook.tell(a_message(3), outcomes.append)
        assert outcomes == ["refused"]
        await asyncio.sleep(600)
    assert len(transport.attempts) == 1
    assert ended("refused") == before + 2
    assert "gone (410)" in caplog.text


@in_virtual_time
async def test_a_receiver_that_was_gone_gets_messages_again_under_another_secret(
    tmp_path: Path,
) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    answers = iter([410])
    transport = Scripted(lambda _: next(answers, 200))
    webhook = a_webhook(transport, str(file))
    async with running(webhook):
        webhook.tell(a_message(1))
        await asyncio.sleep(60)
        file.unlink()
        webhook.tell(a_message(2))
        await asyncio.sleep(60)
        file.write_text(f"whsec_{base64.b64encode(b'x' * 32).decode()}")
        webhook.tell(a_message(3))
        await asyncio.sleep(60)
    assert [one[1] for one in transport.attempts] == [
        "msg_1",
        "msg_3",
    ]


@in_virtual_time
async def test_a_secret_that_comes_later_is_used_then(tmp_path: Path) -> None:
    transport = Scripted(lambda _: 200)
    file = tmp_path / "later"
    webhook = a_webhook(transport, str(file))
    async with running(webhook):
        webhook.tell(a_message())
        await asyncio.sleep(10)
        assert transport.attempts == []
        file.write_text(SECRET)
        await asyncio.sleep(20)
    assert len(transport.attempts) == 1


@in_virtual_time
async def test_an_error_of_our_own_ends_nothing(
    secret_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    def status(id_: str) -> int:
        tried.append(id_)
        if len(tried) == 1:
            raise RuntimeError("a fault")
        return 200

    webhook = a_webhook(Scripted(status), secret_file)
    before = ended("delivered")
    async with running(webhook):
        webhook.tell(a_message())
        await asyncio.sleep(5)
    assert ended("delivered") == before + 1
    assert "webhook message not sent" in caplog.text


@in_virtual_time
async def test_logs_name_the_host_and_neither_path_nor_secret(
    secret_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook = a_webhook(Scripted(lambda _: 500), secret_file)
    async with running(webhook):
        webhook.tell(a_message())
        await asyncio.sleep(2 * sender.LONGEST_SECONDS)
    ours = [record for record in caplog.records if record.name.startswith("relay_operator")]
    assert {record.__dict__["host"] for record in ours} == {"receiver.test"}
    told = " ".join(f"{record.__dict__}" for record in ours)
    assert "s3cret-path" not in told
    assert SECRET not in told
    assert SECRET.removeprefix("whsec_") not in told
