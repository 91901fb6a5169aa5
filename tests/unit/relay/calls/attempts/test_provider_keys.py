"""Providers' keys and the files that hold them."""

from pathlib import Path

import pytest
from tests.unit.relay.documents import document, provider

from relay.calls.attempts.provider_keys import ProviderKeys
from relay.routing.snapshot import Upstream, compile_snapshot
from relay_contract.document import ProviderAuth


def upstream(key_file: str | None) -> Upstream:
    one = provider("legacy", auth=ProviderAuth(key_file=key_file))
    return compile_snapshot(document(providers=(one, provider("holysheep"))), "").upstreams[
        "legacy"
    ]


def test_keys_follow_their_files_and_a_gap_in_a_rotation_does_not_matter(tmp_path: Path) -> None:
    keys, one = ProviderKeys(tmp_path), upstream("key")
    assert keys.refresh([one]) == []
    assert keys.line(one) is None
    (tmp_path / "key").write_text("first\n")
    assert keys.refresh([one]) == ["key"]
    assert keys.line(one) == b"authorization: Bearer first\r\n"
    (tmp_path / "key").unlink()
    assert keys.refresh([one]) == []
    assert keys.line(one) == b"authorization: Bearer first\r\n"
    (tmp_path / "key").write_text("second-key")
    assert keys.refresh([one]) == ["key"]
    assert keys.line(one) == b"authorization: Bearer second-key\r\n"


@pytest.mark.parametrize("content", ["", "  \n", "two\nlines", "with\x00zero"])
def test_what_cannot_be_a_key_is_none(tmp_path: Path, content: str) -> None:
    keys, one = ProviderKeys(tmp_path), upstream("key")
    (tmp_path / "key").write_text(content)
    keys.refresh([one])
    assert keys.line(one) is None


def test_a_provider_without_a_key_sends_none(tmp_path: Path) -> None:
    assert ProviderKeys(tmp_path).line(upstream(None)) == b""
