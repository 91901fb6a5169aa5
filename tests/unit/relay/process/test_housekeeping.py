"""Deadlines, budgets, estimates, keys, files: the small parts the hot path leans on."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.documents import API_KEY, STAGING_KEY, document, provider

from relay.calls.caller import Caller, identify
from relay.calls.provider_keys import ProviderKeys
from relay.calls.retry_budget import RetryBudget
from relay.dialect.refusals import Refusal
from relay.http.deadlines import NEVER, DeadlineWheel, Watched
from relay.http.headers import field_name, field_value, identifier, trace_context
from relay.http.message import Request
from relay.process.document_files import DocumentMount, StateFile
from relay.routing.snapshot import Upstream, compile_snapshot
from relay_contract.document import ProviderAuth


class Item(Watched):
    """A watched thing that notes when it was told."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self.deadline = deadline
        self.told: list[float] = []

    def expired(self, now: float) -> None:
        self.told.append(now)
        self.deadline = NEVER


@given(st.lists(st.tuples(st.floats(100, 130), st.floats(100, 130)), max_size=20))
def test_every_deadline_is_noticed_within_a_second_and_none_early(
    deadlines: list[tuple[float, float]],
) -> None:
    wheel = DeadlineWheel(100.0)
    items = [Item(first) for first, _ in deadlines]
    for item in items:
        wheel.watch(item)
    for item, (_, moved) in zip(items, deadlines, strict=True):
        item.deadline = moved
        if moved < item.slot:
            wheel.watch(item)
    for tick in range(264):
        wheel.turn(100.0 + tick / 8)
    for item, (_, moved) in zip(items, deadlines, strict=True):
        assert len(item.told) == 1
        assert moved <= item.told[0] <= moved + 1.125
    assert len(wheel) == 0


def test_what_is_forgotten_is_kept_by_nothing() -> None:
    wheel, item = DeadlineWheel(0.0), Item(5.0)
    wheel.watch(item)
    wheel.forget(item)
    wheel.turn(10.0)
    assert (item.told, len(wheel)) == ([], 0)


def test_the_retry_budget_bounds_bursts_and_averages() -> None:
    budget = RetryBudget(ratio=0.1, burst=5)
    assert sum(budget.withdraw() for _ in range(100)) == 5
    for _ in range(100):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(100)) == 5
    allowed = 0
    for _ in range(1000):
        budget.deposit()
        allowed += budget.withdraw()
    assert 95 <= allowed <= 105


def upstream(key_file: str | None) -> Upstream:
    one = provider("legacy", auth=ProviderAuth(key_file=key_file))
    return compile_snapshot(document(providers=(one, provider("holysheep"))), "").upstreams[
        "legacy"
    ]


def test_keys_follow_their_files_and_a_gap_in_a_rotation_does_not_matter(tmp_path: Path) -> None:
    credentials, one = ProviderKeys(tmp_path), upstream("key")
    assert credentials.refresh([one]) == []
    assert credentials.line(one) is None
    (tmp_path / "key").write_text("first\n")
    assert credentials.refresh([one]) == ["key"]
    assert credentials.line(one) == b"authorization: Bearer first\r\n"
    (tmp_path / "key").unlink()
    assert credentials.refresh([one]) == []
    assert credentials.line(one) == b"authorization: Bearer first\r\n"
    (tmp_path / "key").write_text("second-key")
    assert credentials.refresh([one]) == ["key"]
    assert credentials.line(one) == b"authorization: Bearer second-key\r\n"


@pytest.mark.parametrize("content", ["", "  \n", "two\nlines", "with\x00zero"])
def test_what_cannot_be_a_key_is_none(tmp_path: Path, content: str) -> None:
    credentials, one = ProviderKeys(tmp_path), upstream("key")
    (tmp_path / "key").write_text(content)
    credentials.refresh([one])
    assert credentials.line(one) is None


def test_a_provider_without_a_key_sends_none(tmp_path: Path) -> None:
    assert ProviderKeys(tmp_path).line(upstream(None)) == b""


def asked(key: str | None, **headers: str) -> Caller | Refusal:
    request = Request(0.0)
    request.fields = {name.replace("_", "-").encode(): v.encode() for name, v in headers.items()}
    if key is not None:
        request.fields[b"authorization"] = b"Bearer " + key.encode()
    return identify(request, compile_snapshot(document(), ""))


@pytest.mark.parametrize(
    ("key", "header", "priority"),
    [
        (API_KEY, None, "high"),
        (API_KEY, "low", "low"),
        (API_KEY, "HIGH", "high"),
        (API_KEY, "urgent", "normal"),
        (STAGING_KEY, "high", "normal"),
        (STAGING_KEY, None, "normal"),
    ],
)
def test_a_priority_can_only_be_lowered(key: str, header: str | None, priority: str) -> None:
    caller = asked(key, x_request_priority=header) if header else asked(key)
    assert isinstance(caller, Caller)
    assert caller.priority == priority


def test_who_may_not_call_is_told_why() -> None:
    assert asked(None) is Refusal.missing_api_key
    assert asked("sk-relay-finance-wrong") is Refusal.invalid_api_key
    assert asked(API_KEY, x_tenant_id="marketing") is Refusal.tenant_mismatch
    assert isinstance(asked(API_KEY, x_tenant_id="finance"), Caller)


def test_a_mounted_document_is_read_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "relay.json"
    mount = DocumentMount(path)
    assert (mount.changed(), mount.read()) == (False, None)
    path.write_bytes(b"one")
    assert (mount.changed(), mount.changed(), mount.read()) == (True, False, b"one")
    replacement = tmp_path / "new"
    replacement.write_bytes(b"two")
    replacement.replace(path)
    assert (mount.changed(), mount.read()) == (True, b"two")


def test_the_kept_document_is_whole_or_the_former(tmp_path: Path) -> None:
    state = StateFile(tmp_path)
    assert state.read() is None
    state.write(b"one")
    state.write(b"two")
    assert state.read() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == [StateFile.NAME]


@pytest.mark.parametrize("bad", ["", "a b", "a\r\nb", "a:b", "é"])
def test_a_header_name_is_a_token(bad: str) -> None:
    with pytest.raises(ValueError, match="header name"):
        field_name(bad)


@pytest.mark.parametrize("bad", ["a\r\nb", "a\nb", "\x00", "☃"])
def test_a_header_value_cannot_end_its_line(bad: str) -> None:
    with pytest.raises(ValueError, match="header value"):
        field_value(bad)


@given(st.binary(max_size=200))
def test_an_identifier_is_safe_wherever_it_is_written(value: bytes) -> None:
    accepted = identifier(value)
    if accepted is not None:
        assert accepted.isascii()
        assert not set(accepted) & set(" \"'\\\r\n\t,;{}")


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01",
        b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    ],
)
def test_an_invalid_trace_context_is_none(bad: bytes) -> None:
    assert trace_context(bad) is None
