"""Settings that would fail every tenant fail the process at its start."""

import pytest
from pydantic import ValidationError

from relay_operator.settings import Settings, split


def test_dns_servers_are_given_by_comma() -> None:
    settings = Settings(dns_cidrs="10.96.0.10/32, 2001:db8::53/128,")
    assert split(settings.dns_cidrs) == ("10.96.0.10/32", "2001:db8::53/128")
    assert split(Settings().dns_cidrs) == ()


def test_a_dns_server_that_is_no_address_block_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="dns_cidrs"):
        Settings(dns_cidrs="10.96.0.10/32,resolver.example.com")
