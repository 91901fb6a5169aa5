"""What a call asks for beside tokens is read from its body, and what cannot be read may be anything."""

import json
from typing import Any

import pytest

from relay.calls.money.asked_service import AskedService, asked_service
from relay.dialect.request_body import CallBody, read_body


def asked(raw: bytes | None = None, **fields: Any) -> AskedService:
    body = read_body(json.dumps({"model": "m", **fields}).encode() if raw is None else raw)
    assert isinstance(body, CallBody)
    return asked_service(body)


@pytest.mark.parametrize("tier", [None, "auto", "AUTO", "", 7, ["default"]])
def test_a_call_that_names_no_tier_may_be_served_in_any(tier: Any) -> None:
    service = asked(service_tier=tier)
    assert service.may_be_served_in("standard")
    assert service.may_be_served_in("priority")
    assert asked().may_be_served_in("priority")


@pytest.mark.parametrize("tier", ["default", "standard_only", "standard"])
def test_a_call_for_the_standard_tier_is_served_in_no_other(tier: str) -> None:
    service = asked(service_tier=tier)
    assert service.may_be_served_in("standard")
    assert not service.may_be_served_in("priority")


def test_a_call_for_a_tier_is_served_in_it_or_as_usual() -> None:
    service = asked(service_tier="Priority")
    assert [service.may_be_served_in(one) for one in ("priority", "standard", "flex")] == [
        *(True, True, False),
    ]


def test_the_fast_tier_is_served_to_those_who_ask_for_speed() -> None:
    assert not asked().may_be_served_in("fast")
    assert not asked(speed="standard").may_be_served_in("fast")
    assert asked(speed="fast").may_be_served_in("fast")
    assert asked(speed="fast", service_tier="standard_only").may_be_served_in("fast")
    assert asked(service_tier="fast").may_be_served_in("fast") is False


def test_sound_is_asked_for_by_its_fields() -> None:
    assert not asked().sound
    assert asked(modalities=["text", "audio"]).sound
    assert asked(audio={"voice": "alloy"}).sound


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","service_tier":"default","service_tier":"priority"}',
        b'{"model":"m","service_tier":"default","service\\u005ftier":"priority"}',
        json.dumps({"model": "m", **{f"x{n}": n for n in range(200)}}).encode(),
    ],
)
def test_what_stands_twice_or_is_too_much_may_be_anything(raw: bytes) -> None:
    service = asked(raw)
    assert service.may_be_served_in("priority")
    assert service.may_be_served_in("fast")
    assert service.sound


def test_a_name_may_be_spelled_with_escapes() -> None:
    assert not asked(b'{"model":"m","service\\u005ftier":"default"}').may_be_served_in("priority")
