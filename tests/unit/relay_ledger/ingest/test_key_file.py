"""The keys of the ledger: from a file that changes, with the last good state in force."""

from pathlib import Path

import pytest

from relay_contract.billing.ledger_token import MAX_KEY_FILE_BYTES, read_keys
from relay_ledger.ingest.key_file import KeyFile

OLD, NEW = "old-" * 8, "new-" * 8


def test_tokens_are_verified_by_the_keys_in_the_file_and_change_with_it(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys")
    tokens = [read_keys(key).tenant_token("uid-a") for key in (OLD, NEW)]
    seen = []
    for content in (f"{OLD}\n", f"{NEW}\n{OLD}\n", f"{NEW}\n"):
        (tmp_path / "next").write_text(content)
        (tmp_path / "next").rename(tmp_path / "keys")
        assert file.refresh() is None
        seen.append([file.tenant_of(token) for token in tokens])
    assert seen == [["uid-a", None], ["uid-a", "uid-a"], [None, "uid-a"]]
    assert file.is_operators(read_keys(NEW).operator_token())
    assert not file.is_operators(read_keys(OLD).operator_token())


def test_a_mounted_secret_is_read_through_its_links(tmp_path: Path) -> None:
    for version, key in (("one", OLD), ("two", NEW)):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "keys").write_text(key)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "keys").symlink_to("..data/keys")
    file = KeyFile(tmp_path / "keys")
    assert file.refresh() is None
    assert file.tenant_of(read_keys(OLD).tenant_token("uid-a")) == "uid-a"
    (tmp_path / "..next").symlink_to("..two")
    (tmp_path / "..next").rename(tmp_path / "..data")
    assert file.refresh() is None
    assert file.tenant_of(read_keys(OLD).tenant_token("uid-a")) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "there is no key in it"),
        ("short-key", "line 1: a key is 32 to 256 characters"),
        (f"{OLD}\n{'é' * 40}", "ASCII"),
        ("x" * (MAX_KEY_FILE_BYTES + 1), "are too many for keys"),
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing_and_is_told_without_its_content(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "keys"
    file = KeyFile(path)
    assert file.refresh() == f"{path}: No such file or directory; no caller is let in"
    token = read_keys(NEW).tenant_token("uid-a")
    assert file.tenant_of(token) is None
    path.write_text(NEW)
    assert file.refresh() is None
    (tmp_path / "next").write_text(content)
    (tmp_path / "next").rename(path)
    problem = file.refresh()
    assert problem is not None
    assert said in problem
    assert problem.endswith("the keys known before stay in force")
    assert "short-key" not in problem
    assert file.tenant_of(token) == "uid-a"
    path.unlink()
    assert (
        file.refresh() == f"{path}: No such file or directory; the keys known before stay in force"
    )
