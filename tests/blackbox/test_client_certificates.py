"""Providers that want to be shown a certificate: mounted, renewed without a restart, and never logged."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.blackbox.authority import DAY, Authority
from tests.blackbox.connect_proxy import ConnectProxy, listening
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.scripted import CHAT_ANSWER, ScriptedProvider, scripted, unary
from tests.blackbox.tenant import Platform, provider
from tests.blackbox.waiting import eventually

from relay_contract.document import ClientCertificate, Proxy

GOOD = unary(CHAT_ANSWER)
FILES = ClientCertificate(certificate_file="stable_tls.crt", key_file="stable_tls.key")


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Creates the authority of both sides."""
    return Authority()


@dataclass(slots=True)
class WaryProvider(ScriptedProvider):
    """Answers whom it knows: `callers` are the names in the certificates that it was shown, None without one."""

    context: ssl.SSLContext | None = None
    callers: list[str | None] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        assert self.context is not None
        with contextlib.suppress(OSError):
            wrapped = self.context.wrap_socket(connection, server_side=True)
            shown: Any = wrapped.getpeercert() or {}
            self.callers.append(
                dict(pair[0] for pair in shown.get("subject", ())).get("commonName")
            )
            ScriptedProvider.serve(self, wrapped)
        connection.close()


@pytest.fixture(params=[ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL], ids=["demands", "asks"])
def wary(
    request: pytest.FixtureRequest, authority: Authority, tmp_path: Path
) -> Iterator[WaryProvider]:
    """Starts a provider that looks at certificates."""
    authority.issue(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    context.load_verify_locations(cadata=authority.pem)
    context.verify_mode = request.param
    made = WaryProvider([GOOD], context=context)
    with scripted(made):
        yield made


def give(relay: Relay, pair: dict[str, bytes]) -> None:
    """Mounts certificate and key."""
    for name, data in pair.items():
        relay.give_key(f"stable_{name}", data.decode())


def there(wary: WaryProvider, authority: Authority, **fields: Any) -> list[Any]:
    """Returns the provider, shown the relay's certificate on a connection for every call."""
    return [
        provider(
            "stable",
            f"https://localhost:{wary.port}/v1",
            **{
                "ca_bundle": authority.pem,
                "client_certificate": FILES,
                "keep_alive_seconds": 0,
                **fields,
            },
        )
    ]


@pytest.fixture
def known(
    new_relay: NewRelay, platform: Platform, wary: WaryProvider, authority: Authority
) -> Relay:
    """Starts a relay with a certificate of the name `first`."""
    relay = new_relay(document=None, document_poll_seconds="0.05")
    give(relay, authority.pair(host="first"))
    relay.write_document(platform.document(providers=there(wary, authority)))
    relay.wait_ready()
    return relay


def test_a_provider_is_shown_the_certificate(known: Relay, wary: WaryProvider) -> None:
    assert known.chat().status == 200
    assert wary.callers == ["first"]
    assert known.acknowledged().missing_keys == ()


def test_a_provider_is_shown_the_certificate_through_a_proxy(
    known: Relay, platform: Platform, wary: WaryProvider, authority: Authority
) -> None:
    with listening(ConnectProxy({f"localhost:{wary.port}": wary.port})) as proxy:
        where = Proxy(host="127.0.0.1", port=proxy.port)
        known.push(platform.document(providers=there(wary, authority, proxy=where)))
        assert known.chat().status == 200
        assert wary.callers == ["first"]


@pytest.mark.parametrize("kind", ["elliptic", "RSA"])
def test_a_renewed_certificate_is_shown_without_a_restart(
    known: Relay, wary: WaryProvider, authority: Authority, kind: str
) -> None:
    assert known.chat().status == 200
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048) if kind == "RSA" else None
    give(known, authority.pair(host="second", key=key))
    eventually(
        lambda: (known.chat().status, wary.callers[-1]), (200, "second").__eq__, what="the new one"
    )
    assert 502 not in [known.chat().status for _ in range(3)]


BAD: dict[str, dict[str, Any]] = {
    "expired": {"valid_for": -DAY},
    "not valid yet": {"valid_in": DAY, "valid_for": 2 * DAY},
    "encrypted": {"passphrase": b"a passphrase"},
}


def bad_pairs(authority: Authority) -> dict[str, dict[str, bytes]]:
    """Returns pairs that nobody can use."""
    good = authority.pair(host="bad")
    return {
        **{why: authority.pair(host="bad", **fields) for why, fields in BAD.items()},
        "another's key": good | {"tls.key": authority.pair()["tls.key"]},
        "garbage": {"tls.crt": b"a certificate", "tls.key": b"a key"},
        "garbage for a key": good | {"tls.key": b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n"},
        "nothing": {"tls.crt": b"", "tls.key": b""},
        "huge": good | {"tls.crt": good["tls.crt"] * 10_000},
    }


@pytest.mark.parametrize("why", bad_pairs(Authority()))
def test_a_certificate_that_cannot_be_used_leaves_the_last_good_one_in_use(
    known: Relay, wary: WaryProvider, authority: Authority, why: str
) -> None:
    assert known.chat().status == 200
    pair = bad_pairs(authority)[why]
    give(known, pair)
    log = eventually(
        known.output, lambda text: "provider_certificate_refused" in text, what="a line about it"
    )
    assert known.chat().status == 200
    assert set(wary.callers) == {"first"}
    assert known.acknowledged().missing_keys == ()
    for line in b"\n".join(pair.values()).decode().splitlines():
        assert len(line) < 30 or line not in log
    give(known, authority.pair(host="third"))
    eventually(lambda: (known.chat(), wary.callers[-1])[1], "third".__eq__, what="the good one")


@pytest.mark.parametrize("files", [("tls.crt", "tls.key"), ("tls.key",)], ids=["both", "key"])
def test_a_certificate_whose_files_vanish_stays_in_use(
    known: Relay, wary: WaryProvider, files: tuple[str, ...]
) -> None:
    assert known.chat().status == 200
    for file in files:
        (known.keys_directory / f"stable_{file}").unlink()
    assert known.acknowledged().missing_keys == ()
    assert known.chat().status == 200
    assert set(wary.callers) == {"first"}


@pytest.mark.parametrize("why", ["missing", "encrypted", "garbage"])
def test_a_certificate_that_was_never_usable_is_reported_like_a_missing_key(
    new_relay: NewRelay, platform: Platform, wary: WaryProvider, authority: Authority, why: str
) -> None:
    relay = new_relay(document=None)
    if why != "missing":
        give(relay, bad_pairs(authority)[why])
    relay.write_document(platform.document(providers=there(wary, authority)))
    relay.wait_ready()
    assert relay.acknowledged().missing_keys == ("stable",)
    answer = relay.chat()
    assert (answer.status, answer.error()["code"]) == (503, "upstream_key_missing")
    assert wary.callers == []
    give(relay, authority.pair(host="at last"))
    assert relay.acknowledged().missing_keys == ()
    assert relay.chat().status == 200
    assert wary.callers[-1] == "at last"


def test_a_certificate_that_is_asked_for_no_more_is_shown_no_more(
    known: Relay, platform: Platform, wary: WaryProvider, authority: Authority
) -> None:
    assert known.chat().status == 200
    plain = there(wary, authority, client_certificate=None)
    known.push(platform.document(providers=plain))
    status = known.chat().status
    if wary.context is not None and wary.context.verify_mode == ssl.CERT_REQUIRED:
        assert status == 502
    else:
        assert (status, wary.callers[-1]) == (200, None)
