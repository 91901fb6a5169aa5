"""TLS with providers, whose certificates are verified."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.blackbox.authority import DAY, Authority
from tests.blackbox.mounted_secret import relay_with_tls
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import Platform, provider
from tests.blackbox.upstream import Upstream


@pytest.fixture
def authority() -> Authority:
    """Creates an authority."""
    return Authority()


@pytest.fixture
def tls_relay(new_relay: NewRelay, authority: Authority, platform: Platform) -> Relay:
    """Starts a relay with a certificate for localhost."""
    return relay_with_tls(new_relay, platform, authority.pair())


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
    tls_relay.push(platform.document(providers=providers, client_tls=True))
    answer = tls_relay.ask(
        "POST",
        "/v1/chat/completions",
        body=b'{"model":"gpt-4.1","stream":true,"messages":[]}',
        tls=authority.trusting(),
    )
    assert answer.status == 200
    assert answer.body.endswith(b"data: [DONE]\n\n")
