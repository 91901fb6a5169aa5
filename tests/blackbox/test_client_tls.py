"""TLS with clients: never plain text where it was asked for, and the last good certificate while the present one is bad."""

import datetime
import signal
import ssl
import threading
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.blackbox.authority import DAY, Authority
from tests.blackbox.mounted_secret import MountedSecret, relay_with_tls, waiting_relay
from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually, steady
from tests.blackbox.wire import request_bytes

from relay_contract.document import ServedCertificate

PLAIN_REQUEST = request_bytes("GET", "/v1/models", {"authorization": f"Bearer {KEY}"})
SECOND = datetime.timedelta(seconds=1)
EXPIRY = "relay_tls_certificate_expiration_timestamp_seconds"


@pytest.fixture
def authority() -> Authority:
    """Creates an authority."""
    return Authority()


@pytest.fixture
def tls_relay(new_relay: NewRelay, authority: Authority, platform: Platform) -> Relay:
    """Starts a relay with a certificate for localhost."""
    return relay_with_tls(new_relay, platform, authority.pair())


def reported(relay: Relay) -> ServedCertificate:
    report = relay.acknowledged().tls
    assert report is not None
    return report


def plain_answer(relay: Relay) -> bytes:
    """Returns everything that a caller without TLS gets."""
    try:
        with relay.wire() as wire:
            wire.send(PLAIN_REQUEST)
            return wire.rest()
    except OSError:
        return b""


def certificate_served(relay: Relay, authority: Authority) -> bytes:
    """Returns the certificate of a new connection; nothing where none is made."""
    try:
        with relay.wire(tls=authority.trusting()) as wire:
            return wire.peer_certificate()
    except (OSError, ssl.SSLError):
        return b""


def test_a_client_is_served_over_tls(tls_relay: Relay, authority: Authority) -> None:
    assert tls_relay.ask("GET", "/v1/models", tls=authority.trusting()).status == 200


def test_a_client_without_tls_gets_no_answer_from_a_tls_port(tls_relay: Relay) -> None:
    assert b"HTTP/1.1" not in plain_answer(tls_relay)


def test_an_old_protocol_version_is_refused(tls_relay: Relay, authority: Authority) -> None:
    context = authority.trusting()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        tls_relay.ask("GET", "/v1/models", tls=context)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nobody_is_served_until_the_certificate_is_there_and_then_without_a_restart(
    new_relay: NewRelay, authority: Authority, platform: Platform, workers: str
) -> None:
    relay = waiting_relay(new_relay, platform, workers=workers)
    eventually(lambda: reported(relay).problem, lambda text: "tls.crt" in text, what="the report")
    assert b"no certificate to serve callers with: there is no entry tls.crt" in relay.ready().body
    assert steady(lambda: plain_answer(relay), for_seconds=0.3) == b""
    assert certificate_served(relay, authority) == b""
    assert relay.metrics().total(EXPIRY) == 0
    MountedSecret(relay.tls_directory).put(authority.pair())
    relay.wait_ready()
    assert relay.ask("GET", "/v1/models", tls=authority.trusting()).status == 200
    assert plain_answer(relay) == b""


def test_a_relay_that_was_made_for_tls_serves_nobody_before_its_first_document(
    new_relay: NewRelay, authority: Authority, platform: Platform
) -> None:
    relay = waiting_relay(new_relay, platform)
    relay.process.kill()
    relay.document_path.unlink()
    for kept in relay.state_directory.iterdir():
        kept.unlink()
    relay.restart()
    relay.wait_listening()
    assert steady(lambda: plain_answer(relay), for_seconds=0.5) == b""


def test_tls_asked_of_a_serving_relay_ends_plain_connections(
    new_relay: NewRelay, platform: Platform, stable: Upstream
) -> None:
    relay = new_relay()
    stable.behave(hold_after_events=1)
    call = request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body(stream=True))
    with relay.wire() as idle, relay.wire() as busy, relay.wire() as half:
        idle.send(PLAIN_REQUEST)
        assert idle.answer().status == 200
        half.send(PLAIN_REQUEST[:20])
        busy.send(call)
        head = busy.head()
        busy.chunk()
        report = relay.push(platform.document(client_tls=True)).tls
        assert report is not None
        assert "no mount for a certificate" in report.problem
        assert idle.ended()
        assert half.ended()
        assert plain_answer(relay) == b""
        stable.release()
        assert busy.body_of(head).body.endswith(b"data: [DONE]\n\n")
        assert busy.ended()
    assert relay.ready().status == 503


def test_tls_taken_back_is_served_plain_at_once(
    tls_relay: Relay, authority: Authority, platform: Platform
) -> None:
    assert tls_relay.push(platform.document()).tls is None
    assert tls_relay.ask("GET", "/v1/models").status == 200
    assert tls_relay.ready().status == 200
    answer = tls_relay.push(platform.document(client_tls=True))
    assert answer.tls is not None
    assert answer.tls.digest
    assert plain_answer(tls_relay) == b""
    assert tls_relay.ask("GET", "/v1/models", tls=authority.trusting()).status == 200


BAD: dict[str, tuple[Callable[[Authority], dict[str, bytes]], str]] = {
    "removed": (lambda authority: {}, "no entry tls.crt and no entry tls.key"),
    "no key": (lambda authority: {"tls.crt": authority.pair()["tls.crt"]}, "no entry tls.key"),
    "empty": (lambda authority: {"tls.crt": b"", "tls.key": b""}, "no entry tls.crt"),
    "garbage": (
        lambda authority: {**authority.pair(), "tls.crt": b"\xff\x00garbage"},
        "tls.crt holds no certificate in PEM",
    ),
    "no private key": (
        lambda authority: {**authority.pair(), "tls.key": b"-----BEGIN PRIVATE KEY-----\n"},
        "tls.key holds no private key in PEM",
    ),
    "encrypted": (lambda authority: authority.pair(passphrase=b"secret"), "passphrase"),
    "mismatch": (
        lambda authority: {**authority.pair(), "tls.key": authority.pair()["tls.key"]},
        "tls.key is not the key of the first certificate in tls.crt",
    ),
    "expired": (lambda authority: authority.pair(valid_for=-DAY), "expired at 20"),
    "not yet": (lambda authority: authority.pair(valid_in=DAY / 2), "is not valid before 20"),
    "too weak": (
        lambda authority: authority.pair(key=rsa.generate_private_key(65537, 1024)),
        "OpenSSL does not take the pair",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_certificate_that_goes_bad_leaves_the_last_good_one_in_use(
    tls_relay: Relay, authority: Authority, bad: str
) -> None:
    before = certificate_served(tls_relay, authority)
    good = reported(tls_relay)
    make, problem = BAD[bad]
    replace(tls_relay, make(authority))
    told = eventually(lambda: reported(tls_relay), lambda seen: problem in seen.problem)
    assert (told.digest, told.not_after) == (good.digest, good.not_after)
    assert certificate_served(tls_relay, authority) == before
    assert tls_relay.ready().status == 200
    assert tls_relay.metrics().total(EXPIRY) == good.not_after
    # a worker that starts now serves it too
    worker, *_ = tls_relay.process.workers()
    tls_relay.process.signal_worker(worker, signal.SIGKILL)
    eventually(
        lambda: tls_relay.process.workers() not in ([worker], []) and tls_relay.ready().status,
        lambda status: status == 200,
        what="a new worker",
    )
    assert certificate_served(tls_relay, authority) == before
    replace(tls_relay, authority.pair())
    eventually(lambda: reported(tls_relay), lambda seen: not seen.problem)
    assert certificate_served(tls_relay, authority) not in (before, b"")
    assert "PRIVATE KEY" not in tls_relay.output()


def replace(relay: Relay, entries: dict[str, bytes]) -> None:
    """Replaces what is mounted."""
    MountedSecret(relay.tls_directory).put(entries)


def test_a_certificate_is_served_when_its_time_has_come(
    new_relay: NewRelay, authority: Authority, platform: Platform
) -> None:
    relay = waiting_relay(new_relay, platform)
    replace(relay, authority.pair(valid_in=3 * SECOND))
    eventually(lambda: "is not valid before" in relay.output(), what="the refusal")
    relay.wait_ready()
    assert certificate_served(relay, authority)


def test_pem_is_found_between_any_bytes(
    new_relay: NewRelay, authority: Authority, platform: Platform
) -> None:
    pair = {name: b"K\xf6ln\n" + data + b"\xff\xfe" for name, data in authority.pair().items()}
    relay = relay_with_tls(new_relay, platform, pair)
    assert relay.ask("GET", "/v1/models", tls=authority.trusting()).status == 200


def test_a_restarted_relay_without_its_certificate_serves_nobody(
    tls_relay: Relay, authority: Authority
) -> None:
    replace(tls_relay, {})
    tls_relay.restart()
    tls_relay.wait_listening()
    assert steady(lambda: plain_answer(tls_relay), for_seconds=0.3) == b""
    assert certificate_served(tls_relay, authority) == b""
    replace(tls_relay, authority.pair())
    tls_relay.wait_ready()
    assert tls_relay.ask("GET", "/v1/models", tls=authority.trusting()).status == 200


@pytest.mark.parametrize("bad", ["removed", "mismatch", "expired"])
def test_a_container_that_restarts_while_the_certificate_is_bad_serves_the_last_good_one(
    new_relay: NewRelay, authority: Authority, platform: Platform, bad: str
) -> None:
    relay = waiting_relay(new_relay, platform)
    relay.kept_tls_directory.mkdir()
    for pair in (authority.pair(), authority.pair()):
        replace(relay, pair)
        relay.wait_ready()
    eventually(lambda: reported(relay).digest, bool, what="the certificate")
    served = eventually(
        lambda: certificate_served(relay, authority),
        lambda seen: seen == ssl.PEM_cert_to_DER_cert(pair["tls.crt"].decode()),
        what="the second certificate",
    )
    make, problem = BAD[bad]
    replace(relay, make(authority))
    relay.restart()
    relay.wait_ready()
    assert certificate_served(relay, authority) == served
    assert problem in reported(relay).problem
    for file in relay.kept_tls_directory.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


def test_a_copy_that_cannot_be_read_is_none(
    new_relay: NewRelay, authority: Authority, platform: Platform
) -> None:
    relay = waiting_relay(new_relay, platform)
    relay.kept_tls_directory.mkdir()
    (relay.kept_tls_directory / "tls.crt").write_bytes(authority.pair()["tls.crt"])
    (relay.kept_tls_directory / "tls.key").write_bytes(b"cut")
    relay.restart()
    relay.wait_listening()
    assert certificate_served(relay, authority) == b""
    replace(relay, authority.pair())
    relay.wait_ready()


def test_a_renewed_certificate_is_served_without_a_restart_also_with_another_kind_of_key(
    tls_relay: Relay, authority: Authority
) -> None:
    with tls_relay.wire(tls=authority.trusting()) as old:
        seen = {old.peer_certificate()}
        rsa_key = rsa.generate_private_key(65537, 2048)
        for pair in (authority.pair(key=rsa_key), authority.pair(), authority.pair(key=rsa_key)):
            replace(tls_relay, pair)
            seen.add(
                eventually(
                    lambda: certificate_served(tls_relay, authority),
                    lambda served: served not in seen,
                    what="the renewed certificate",
                )
            )
        old.send(request_bytes("GET", "/v1/models"))
        assert old.answer().status == 401


def test_no_connection_is_lost_while_certificates_are_renewed_under_traffic(
    new_relay: NewRelay, authority: Authority, platform: Platform
) -> None:
    relay = relay_with_tls(new_relay, platform, authority.pair(), workers="2")
    context, statuses, failures = authority.trusting(), list[int](), list[str]()
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            try:
                statuses.append(relay.ask("GET", "/v1/models", tls=context).status)
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(6):
            before = reported(relay).digest
            replace(relay, authority.pair())
            eventually(lambda: reported(relay).digest, lambda seen: seen not in ("", before))  # noqa: B023
            time.sleep(0.1)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert failures == []
    assert len(statuses) > 20
    assert set(statuses) == {200}


def test_the_end_of_the_certificates_time_is_a_metric(
    new_relay: NewRelay, authority: Authority, platform: Platform
) -> None:
    relay = relay_with_tls(new_relay, platform, authority.pair(valid_for=3 * DAY))
    left = relay.metrics().total(EXPIRY) - time.time()
    assert 2.9 * DAY.total_seconds() < left <= 3 * DAY.total_seconds()


def test_a_relay_without_tls_has_no_such_metric(relay: Relay) -> None:
    assert relay.metrics().series(EXPIRY) == []
    assert relay.acknowledged().tls is None
