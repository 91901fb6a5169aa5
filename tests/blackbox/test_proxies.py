"""Providers behind an HTTP proxy: the relay speaks to nothing else, and TLS goes through to the provider."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.blackbox.authority import Authority
from tests.blackbox.connect_proxy import OPEN, ConnectProxy, listening
from tests.blackbox.relays import NewRelay, Relay, chat_body
from tests.blackbox.tenant import Platform, provider, route, side
from tests.blackbox.test_tls import secure_upstream
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually

from relay_contract.document import Proxy
from relay_contract.endpoints import PREFLIGHTS_PATH

HOST = "api.provider.invalid"
"""No name service knows it (RFC 2606): only the proxy can."""
TARGET = f"{HOST}:443"
SECRET = "a-user:a-päss:word nobody may log"


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Creates an authority."""
    return Authority()


@pytest.fixture(scope="module")
def secured(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """Starts a provider with a certificate for HOST."""
    directory = tmp_path_factory.mktemp("secured")
    authority.issue(directory, host=HOST)
    upstream = secure_upstream(directory)
    yield upstream
    upstream.process.kill()


@pytest.fixture
def there(secured: Upstream) -> Upstream:
    """Resets the provider."""
    secured.reset()
    return secured


@pytest.fixture
def proxy(there: Upstream) -> Iterator[ConnectProxy]:
    """Starts a proxy that knows the provider."""
    with listening(ConnectProxy({TARGET: there.port})) as made:
        yield made


def behind(proxy: ConnectProxy, ca: str | None, **fields: Any) -> list[Any]:
    """Returns the provider behind the proxy."""
    file = fields.pop("credentials_file", None)
    host = fields.pop("host", HOST)
    where = Proxy(host="127.0.0.1", port=proxy.port, credentials_file=file)
    return [provider("stable", f"https://{host}/v1", proxy=where, ca_bundle=ca, **fields)]


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
def test_a_call_goes_through_the_proxy_to_a_name_that_only_the_proxy_knows(
    relay: Relay,
    platform: Platform,
    proxy: ConnectProxy,
    there: Upstream,
    authority: Authority,
    stream: bool,
) -> None:
    relay.push(platform.document(providers=behind(proxy, authority.pem)))
    answer = relay.chat(stream=stream)
    assert answer.status == 200
    assert set(proxy.targets) == {TARGET}
    assert there.only_request().header("host") == HOST
    assert "authorization" not in proxy.heads[0].lower()


def test_a_dot_at_the_end_of_a_name_is_for_the_name_service_alone(
    relay: Relay, platform: Platform, there: Upstream, authority: Authority
) -> None:
    with listening(ConnectProxy({f"{HOST}.:443": there.port})) as proxy:
        relay.push(platform.document(providers=behind(proxy, authority.pem, host=f"{HOST}.")))
        assert relay.chat().status == 200
    assert there.only_request().header("host") == HOST


def test_a_tunnel_serves_call_after_call(
    cold_relay: Relay, platform: Platform, proxy: ConnectProxy, authority: Authority
) -> None:
    cold_relay.push(platform.document(providers=behind(proxy, authority.pem)))
    assert [cold_relay.chat().status for _ in range(5)] == [200] * 5
    assert len(proxy.heads) == 1


def test_a_large_body_goes_through_the_proxy(
    relay: Relay, platform: Platform, proxy: ConnectProxy, there: Upstream, authority: Authority
) -> None:
    relay.push(platform.document(providers=behind(proxy, authority.pem)))
    messages = [{"role": "user", "content": "x" * 3_000_000}]
    assert relay.chat(messages=messages).status == 200
    sent = hashlib.sha256(chat_body(messages=messages)).hexdigest()
    assert there.only_request().body_sha256 == sent


@pytest.mark.parametrize("host", ["[::1]:8443", "127.0.0.1:9"])
def test_an_address_is_asked_for_as_a_request_target_has_it(
    relay: Relay, platform: Platform, proxy: ConnectProxy, authority: Authority, host: str
) -> None:
    proxy.tunnels, proxy.closes = False, True
    relay.push(platform.document(providers=behind(proxy, authority.pem, host=host)))
    assert relay.chat().status == 502
    assert proxy.targets[0] == host
    assert f"host: {host}\r\n" in proxy.heads[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 299 Whatever you say\r\nx: " + b"y" * 8000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        (
            b"HTTP/1.1 10",
            0.05,
            b"3 Early Hints\r\n\r",
            0.05,
            b"\nHTTP/1.1 200 ",
            0.05,
            b"OK\r\n\r\n",
        ),
    ],
    ids=["framed", "1.0", "299", "interim", "pieces"],
)
def test_every_way_of_saying_yes_opens_the_tunnel(
    relay: Relay, platform: Platform, proxy: ConnectProxy, authority: Authority, answer: Any
) -> None:
    proxy.answer = answer
    relay.push(platform.document(providers=behind(proxy, authority.pem)))
    assert relay.chat().status == 200


NO: dict[str, dict[str, Any]] = {
    "407": {"answer": b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"},
    "403": {"answer": b"HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nno!!"},
    "502": {"answer": b"HTTP/1.1 502 Bad Gateway\r\n\r\n"},
    "redirect": {"answer": b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\n\r\n"},
    "101": {"answer": b"HTTP/1.1 101 Switching Protocols\r\n\r\n"},
    "silence": {"answer": b""},
    "half a head": {"answer": b"HTTP/1.1 200 OK\r\nx: y"},
    "closed": {"answer": b"", "closes": True},
    "closed in its head": {"answer": b"HTTP/1.1 200 OK\r\n", "closes": True},
    "not HTTP": {"answer": b"SSH-2.0-OpenSSH_9.2\r\n"},
    "TLS": {"answer": b"\x15\x03\x01\x00\x02\x02\x28"},
    "status of letters": {"answer": b"HTTP/1.1 OK 200\r\n\r\n"},
    "status too long": {"answer": b"HTTP/1.1 2000 OK\r\n\r\n"},
    "HTTP/2": {"answer": b"HTTP/2 200 OK\r\n\r\n"},
    "endless head": {"answer": b"HTTP/1.1 200 OK\r\n" + b"x: yyyyyyyyyyyyyyy\r\n" * 100_000},
    "endless interim": {"answer": b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000},
    "bytes of its own": {"answer": OPEN + b"HTTP/1.1 200 OK\r\n\r\n"},
    "bytes after a moment": {
        "answer": (OPEN, 0.1, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    },
    "opened and closed": {"answer": OPEN, "closes": True},
    "opened and silent": {"answer": OPEN},
}


@pytest.mark.parametrize("says", NO.values(), ids=NO)
def test_a_proxy_that_opens_no_tunnel_is_a_provider_out_of_reach(
    relay: Relay,
    platform: Platform,
    proxy: ConnectProxy,
    there: Upstream,
    backup: Upstream,
    authority: Authority,
    says: dict[str, Any],
) -> None:
    proxy.answer, proxy.closes, proxy.tunnels = says["answer"], "closes" in says, False
    relay.push(platform.document(providers=behind(proxy, authority.pem)))
    answer = relay.chat()
    assert (answer.status, answer.error()["code"]) == (502, "upstream_unreachable")
    assert "proxy" in answer.error()["message"]
    fallback = [*behind(proxy, authority.pem), provider("backup", backup.url)]
    routes = [route(fallback=(side("backup"),))]
    relay.push(platform.document(providers=fallback, routes=routes))
    assert relay.chat().status == 200
    assert (there.calls(), backup.calls()) == (0, 1)
    proxy.answer, proxy.tunnels = OPEN, True
    relay.push(platform.document(providers=behind(proxy, authority.pem)))
    eventually(lambda: relay.chat().status, (200).__eq__, what="the tunnel")


def test_a_proxy_that_is_not_there_is_named_in_the_log(
    new_relay: NewRelay, platform: Platform, authority: Authority
) -> None:
    gone = ConnectProxy({})
    with listening(gone):
        pass
    relay = new_relay(document=platform.document(providers=behind(gone, authority.pem)))
    assert relay.chat().error()["code"] == "upstream_unreachable"
    line = eventually(
        lambda: [text for text in relay.output().splitlines() if "provider_unreachable" in text],
        what="a line about it",
    )[0]
    assert f"through proxy 127.0.0.1:{gone.port}: " in json.loads(line)["message"]
    assert json.loads(line)["provider"] == "stable"


@pytest.mark.parametrize("host", ["other.provider.invalid", HOST])
def test_the_provider_is_verified_and_not_the_proxy(
    relay: Relay, platform: Platform, there: Upstream, authority: Authority, host: str
) -> None:
    # a proxy that leads elsewhere, and one that leads to whom nobody vouches for
    known = {f"{host}:443": there.port}
    trusted = authority.pem if host != HOST else Authority().pem
    with listening(ConnectProxy(known)) as astray:
        relay.push(platform.document(providers=behind(astray, trusted, host=host)))
        answer = relay.chat()
        assert (answer.status, answer.error()["code"]) == (502, "upstream_unreachable")
        assert there.calls() == 0


def test_credentials_are_shown_to_the_proxy_alone_and_a_change_is_taken_up(
    cold_relay: Relay,
    platform: Platform,
    proxy: ConnectProxy,
    there: Upstream,
    authority: Authority,
) -> None:
    relay = cold_relay
    relay.give_key("stable_proxy", SECRET)
    there_now = behind(proxy, authority.pem, credentials_file="stable_proxy", keep_alive_seconds=0)
    relay.push(platform.document(providers=there_now))
    assert relay.chat().status == 200
    assert shown(proxy) == SECRET
    assert there.only_request().header("proxy-authorization") is None
    relay.give_key("stable_proxy", "another:word")
    eventually(lambda: (relay.chat(), shown(proxy))[1], "another:word".__eq__, what="the new ones")
    (relay.keys_directory / "stable_proxy").unlink()
    assert relay.chat().status == 200
    log = relay.output()
    for secret in (SECRET, "another:word"):
        assert secret not in log
        assert base64.b64encode(secret.encode()).decode() not in log


def shown(proxy: ConnectProxy) -> str:
    """Returns the user and the password that the proxy was shown last."""
    (line,) = [
        line for line in proxy.heads[-1].split("\r\n") if line.startswith("proxy-authorization")
    ]
    return base64.b64decode(line.removeprefix("proxy-authorization: Basic ")).decode()


def test_missing_credentials_are_reported_like_a_missing_key(
    new_relay: NewRelay, platform: Platform, proxy: ConnectProxy, authority: Authority
) -> None:
    providers = behind(proxy, authority.pem, credentials_file="never-there_proxy")
    relay = new_relay(document=platform.document(providers=providers))
    assert relay.acknowledged().missing_keys == ("stable",)
    answer = relay.chat()
    assert (answer.status, answer.error()["code"]) == (503, "upstream_key_missing")
    assert proxy.heads == []


def test_calls_go_on_as_before_until_new_credentials_are_mounted(
    relay: Relay, platform: Platform, proxy: ConnectProxy, authority: Authority, tmp_path: Path
) -> None:
    relay.push(platform.document(providers=behind(proxy, authority.pem)))
    assert relay.chat().status == 200
    name = f"{tmp_path.name}_proxy"
    providers = behind(proxy, authority.pem, credentials_file=name)
    assert relay.push(platform.document(providers=providers)).missing_keys == ("stable",)
    assert relay.chat().status == 200
    assert "proxy-authorization" not in proxy.heads[-1]
    relay.give_key(name, SECRET)
    assert relay.acknowledged().missing_keys == ()
    assert relay.chat().status == 200
    assert shown(proxy) == SECRET


def test_a_relay_leaves_no_connection_to_a_proxy_behind(
    relay: Relay, platform: Platform, proxy: ConnectProxy, authority: Authority
) -> None:
    proxy.answer, proxy.tunnels = b"HTTP/1.1 407 No\r\n\r\n", False
    relay.push(platform.document(providers=behind(proxy, authority.pem)))
    before = descriptors(relay)
    for _ in range(30):
        relay.chat()
    eventually(lambda: descriptors(relay), lambda now: now <= before + 4, what="them to be closed")


def descriptors(relay: Relay) -> int:
    """Returns how many descriptors the relay's processes have open."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in relay.process.members())


def test_a_preflight_goes_through_the_proxy_and_tells_of_one_that_refuses(
    relay: Relay,
    platform: Platform,
    proxy: ConnectProxy,
    there: Upstream,
    authority: Authority,
) -> None:
    def found(token: str) -> dict[str, Any]:
        # without idle connections, which a probe would use
        providers = behind(proxy, authority.pem, keep_alive_seconds=0.0)
        probed = route("stable", side("stable"), preflight=token)
        relay.push(platform.document(providers=providers, routes=[probed]))
        return eventually(
            lambda: json.loads(relay.admin("GET", PREFLIGHTS_PATH).body)["preflights"][0],
            lambda told: told["state"] != "Running",
            what="the end of the preflight",
        )

    assert found("t/1")["state"] == "Passed"
    assert len(there.received()) == 2
    assert set(proxy.targets) == {TARGET}
    proxy.tunnels, proxy.answer = False, b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"
    refused = found("t/2")
    assert refused["reason"] == "Unreachable"
    assert f"proxy 127.0.0.1:{proxy.port}" in refused["message"]
