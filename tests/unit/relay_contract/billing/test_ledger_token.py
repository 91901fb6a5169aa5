"""Tokens for the ledger: whose they are, and that nobody makes another's without the key."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_contract.billing.ledger_token import MAX_KEYS, LedgerKeys, UnusableKeys, read_keys

KEY, OTHER = "k" * 32, "o" * 32
UID = "9c6d9b0e-5d0e-4a4e-9d8c-0c8f4a7f1d11"


def test_a_token_is_its_tenants_and_has_the_documented_form() -> None:
    keys = read_keys(KEY)
    token = keys.tenant_token(UID)
    mac = hmac.new(KEY.encode(), f"relay-ledger/1/tenant\n{UID}".encode(), hashlib.sha256)
    assert token == f"{UID}.{mac.hexdigest()}"
    assert keys.tenant_of(token) == UID
    assert not keys.is_operators(token)


def test_the_operator_and_a_tenant_of_that_uid_are_not_taken_for_each_other() -> None:
    keys = read_keys(KEY)
    assert keys.is_operators(keys.operator_token())
    assert keys.tenant_of(keys.operator_token()) is None
    assert not keys.is_operators(keys.tenant_token("operator"))


def test_the_first_key_signs_and_every_key_verifies() -> None:
    both, old, new = read_keys(f"{OTHER}\n{KEY}\n"), read_keys(KEY), read_keys(OTHER)
    assert both.tenant_token(UID) == new.tenant_token(UID)
    assert both.tenant_of(old.tenant_token(UID)) == both.tenant_of(new.tenant_token(UID)) == UID
    assert both.is_operators(old.operator_token())
    assert new.tenant_of(old.tenant_token(UID)) is None


@given(st.text(max_size=80))
def test_what_was_not_made_with_the_key_is_nobodys(mac: str) -> None:
    keys = read_keys(KEY)
    own = keys.tenant_token(UID)
    for token in (mac, f"{UID}.{mac}", f"x{mac}{own}", own.replace(UID, "uid-b"), f"{own}{mac} "):
        assert keys.tenant_of(token) is None
        assert not keys.is_operators(token)
    assert keys.tenant_of(own.upper()) is None
    assert keys.tenant_of(f"{UID}\n.{own.partition('.')[2]}") is None


@pytest.mark.parametrize("uid", ["", "a.b", "a b", "é", "a" * 97, "a\n"])
def test_what_is_no_uid_has_no_token(uid: str) -> None:
    with pytest.raises(ValueError, match="is no UID"):
        read_keys(KEY).tenant_token(uid)


def test_keys_that_cannot_be_used_are_refused_without_being_told() -> None:
    with pytest.raises(UnusableKeys, match="no key"):
        LedgerKeys([])
    with pytest.raises(UnusableKeys, match="line 2") as refused:
        read_keys(f"{KEY}\nsecret")
    assert "secret" not in str(refused.value)
    with pytest.raises(UnusableKeys, match="take old ones away"):
        read_keys(f"{KEY}\n" * (MAX_KEYS + 1))
