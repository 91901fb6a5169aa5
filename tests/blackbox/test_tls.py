"""TLS with clients, with certificates reloaded in place, and with providers, whose certificates are verified."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.blackbox.authority import DAY, Authority
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import Platform, provider
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually


@pytest.fixture
def authority() -> Authority:
    """Creates an authority."""
    return Authority()


@pytest.fixture
def tls_relay(new_relay: NewRelay, authority: Authority, platform: Platform) -> Relay:
    """Starts a relay with a certificate for localhost."""
    relay = new_relay(document=None)
    relay.process.kill()
    authority.issue(relay.tls_directory)
    relay.write_document(platform.document())
    relay.restart()
    relay.wait_ready()
    return relay


def test_a_client_is_served_over_tls(tls_relay: Relay, authority: Authority) -> None:
    assert tls_relay.ask("GET", "/v1/models", tls=authority.trusting()).status == 200


def test_a_client_without_tls_gets_no_answer_from_a_tls_port(tls_relay: Relay) -> None:
    with tls_relay.wire() as wire:
        wire.send(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        assert not wire.rest().startswith(b"HTTP/1.1 200")


def test_an_old_protocol_version_is_refused(tls_relay: Relay, authority: Authority) -> None:
    context = authority.trusting()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        tls_relay.ask("GET", "/v1/models", tls=context)


def test_a_renewed_certificate_is_served_without_a_restart(
    tls_relay: Relay, authority: Authority
) -> None:
    context = authority.trusting()
    with tls_relay.wire(tls=context) as old:
        before = old.peer_certificate()
        authority.issue(tls_relay.tls_directory)

        def served() -> bytes:
            with tls_relay.wire(tls=context) as wire:
                return wire.peer_certificate()

        eventually(served, lambda seen: seen != before, what="the renewed certificate")
        old.send(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert old.answer().status == 401


def test_a_broken_renewal_leaves_the_last_valid_certificate_in_use(
    tls_relay: Relay, authority: Authority
) -> None:
    (tls_relay.tls_directory / "tls.crt").write_text("not a certificate")
    eventually(tls_relay.output, lambda output: "tls" in output.lower(), what="a log line about it")
    assert tls_relay.ask("GET", "/v1/models", tls=authority.trusting()).status == 200


@pytest.fixture
def tls_upstream(tmp_path: Path, authority: Authority) -> Iterator[Upstream]:
    """Starts a provider with a certificate for localhost."""
    authority.issue(tmp_path)
    upstream = secure_upstream(tmp_path)
    yield upstream
    upstream.process.kill()


def secure_upstream(directory: Path) -> Upstream:
    """Starts a provider that serves with the certificate in the directory."""
    upstream = Upstream(
        directory / "upstream.log",
        *("--tls-cert", str(directory / "tls.crt"), "--tls-key", str(directory / "tls.key")),
        scheme="https",
    )
    upstream.wait_ready()
    return upstream


def status_of(relay: Relay, platform: Platform, url: str, ca: str | None) -> tuple[int, str]:
    """Returns the status of a call whose provider is at that URL."""
    relay.push(platform.document(providers=[provider("stable", url, ca_bundle=ca)]))
    answer = relay.chat()
    return answer.status, "" if answer.status == 200 else answer.error()["code"]


def test_a_provider_is_verified_against_its_ca_bundle(
    relay: Relay, platform: Platform, tls_upstream: Upstream, authority: Authority
) -> None:
    url = f"https://localhost:{tls_upstream.port}/v1"
    assert status_of(relay, platform, url, authority.pem) == (200, "")
    assert tls_upstream.calls() == 1


def test_a_provider_of_an_unknown_authority_is_refused(
    relay: Relay, platform: Platform, tls_upstream: Upstream
) -> None:
    url = f"https://localhost:{tls_upstream.port}/v1"
    for ca in (None, Authority().pem):
        assert status_of(relay, platform, url, ca) == (502, "upstream_unreachable")
    assert tls_upstream.calls() == 0


def test_a_provider_with_a_certificate_for_another_name_is_refused(
    relay: Relay, platform: Platform, tls_upstream: Upstream, authority: Authority
) -> None:
    url = f"https://127.0.0.1:{tls_upstream.port}/v1"
    assert status_of(relay, platform, url, authority.pem) == (502, "upstream_unreachable")


def test_a_provider_with_an_expired_certificate_is_refused(
    relay: Relay, platform: Platform, tmp_path: Path, authority: Authority
) -> None:
    authority.issue(tmp_path, valid_for=-DAY)
    upstream = secure_upstream(tmp_path)
    try:
        url = f"https://localhost:{upstream.port}/v1"
        assert status_of(relay, platform, url, authority.pem) == (502, "upstream_unreachable")
        assert upstream.calls() == 0
    finally:
        upstream.process.kill()


def test_a_stream_passes_through_tls_on_both_sides(
    tls_relay: Relay, platform: Platform, tls_upstream: Upstream, authority: Authority
) -> None:
    url = f"https://localhost:{tls_upstream.port}/v1"
    providers = [provider("stable", url, ca_bundle=authority.pem)]
    tls_relay.push(platform.document(providers=providers))
    answer = tls_relay.ask(
        "POST",
        "/v1/chat/completions",
        body=b'{"model":"gpt-4.1","stream":true,"messages":[]}',
        tls=authority.trusting(),
    )
    assert answer.status == 200
    assert answer.body.endswith(b"data: [DONE]\n\n")
