"""Settings that would fail every tenant fail the process at its start."""

from typing import Any

import pytest
from pydantic import ValidationError

from relay_operator.settings import Settings, labels, split


def test_dns_servers_are_given_by_comma() -> None:
    settings = Settings(dns_cidrs="10.96.0.10/32, 2001:db8::53/128,")
    assert split(settings.dns_cidrs) == ("10.96.0.10/32", "2001:db8::53/128")
    assert split(Settings().dns_cidrs) == ()


def test_a_dns_server_that_is_no_address_block_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="dns_cidrs"):
        Settings(dns_cidrs="10.96.0.10/32,resolver.example.com")


@pytest.mark.parametrize("text", ["10.0.0.2/32", "dns.example.com", "1.1.1.1,1.0.0.1,::1,::2"])
def test_nameservers_that_no_pod_could_have_are_refused_at_the_start(text: str) -> None:
    assert split(Settings(dns_nameservers="10.0.0.2,2001:db8::53").dns_nameservers)
    with pytest.raises(ValidationError, match="dns_nameservers"):
        Settings(dns_nameservers=text)


def test_prometheus_is_reached_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERATOR_PROMETHEUS_HEADERS", '{"X-Scope-OrgID": "platform"}')
    assert Settings().prometheus_headers == {"X-Scope-OrgID": "platform"}


def test_the_pods_that_network_policies_let_in_are_known_by_their_labels() -> None:
    assert labels(Settings().prometheus_pod_selector) == (("app.kubernetes.io/name", "prometheus"),)
    assert labels("team=, app=prom") == (("app", "prom"), ("team", ""))
    assert labels(Settings(prometheus_pod_selector="").prometheus_pod_selector) == ()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"prometheus_url": "http://relay:s3cret@prometheus"}, "must hold no credentials"),
        ({"prometheus_headers": {"a b": "c"}}, "prometheus_headers"),
        ({"prometheus_headers": {"a": "c\r\nd: e"}}, "prometheus_headers"),
        ({"prometheus_pod_label": 'pod"}'}, "prometheus_pod_label"),
        ({"prometheus_job": ""}, "prometheus_job"),
        ({"prometheus_pod_selector": "app=a b"}, "app=a b is no label"),
        ({"prometheus_pod_selector": "app in (a)"}, "is no label"),
        ({"pod_selector": "app"}, "app is no label"),
        ({"pod_selector": ""}, "pod_selector"),
        ({"webhook_url": "https://receiver.test"}, "webhook_secret_file"),
        ({"webhook_url": "receiver.test", "webhook_secret_file": "/s"}, "http or https"),
        (
            {"webhook_url": "https://a:s3cret@receiver.test", "webhook_secret_file": "/s"},
            "must hold no credentials",
        ),
        ({"prometheus_certificate_file": "/tls.crt"}, "prometheus_key_file"),
        ({"prometheus_password_file": "/password"}, "prometheus_username_file"),
        (
            {
                "prometheus_token_file": "/t",
                "prometheus_username_file": "/u",
                "prometheus_password_file": "/p",
            },
            "exclude each other",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_settings_that_nothing_could_use_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why) as caught:
        Settings(**wrong)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "closed"),
    [("10.96.0.1", ("10.0.0.0/16", "10.96.0.1")), ("fd00:10::1", ("10.0.0.0/16", "fd00:10::1")), ("api.test", ("10.0.0.0/16",)), ("", ("10.0.0.0/16",))],
)  # fmt: skip
def test_the_api_servers_address_is_closed_whether_or_not_somebody_names_it(
    monkeypatch: pytest.MonkeyPatch, host: str, closed: tuple[str, ...]
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    assert Settings(cluster_cidrs="10.0.0.0/16").closed_addresses == closed
