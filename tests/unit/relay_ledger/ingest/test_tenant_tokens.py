"""Whose a token is: by digest, from files that change, with the last good state in force."""

import hashlib
import shutil
from pathlib import Path

from relay_ledger.ingest.tenant_tokens import MAX_FILE_BYTES, TenantTokens


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def test_tokens_are_their_tenants_and_change_with_their_files(tmp_path: Path) -> None:
    tokens = TenantTokens(tmp_path)
    (tmp_path / "uid-a").write_text(f"{digest('old')}\n{digest('new')}\n")
    (tmp_path / "uid-b").write_text(digest("b"))
    assert tokens.refresh() == []
    assert [tokens.tenant_of(one) for one in ("old", "new", "b", "", digest("b"))] == [
        *("uid-a", "uid-a", "uid-b"),
        *(None, None),
    ]
    (tmp_path / "uid-b").unlink()
    (tmp_path / "next").write_text(digest("new"))
    (tmp_path / "next").rename(tmp_path / "uid-a")
    assert tokens.refresh() == []
    assert [tokens.tenant_of(one) for one in ("old", "new", "b")] == [None, "uid-a", None]


def test_a_mounted_secret_is_read_through_its_links(tmp_path: Path) -> None:
    for version in ("one", "two"):
        directory = tmp_path / f"..{version}"
        directory.mkdir()
        (directory / "uid-a").write_text(digest(version))
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "uid-a").symlink_to("..data/uid-a")
    tokens = TenantTokens(tmp_path)
    assert tokens.refresh() == []
    assert tokens.tenant_of("one") == "uid-a"
    (tmp_path / "..next").symlink_to("..two")
    (tmp_path / "..next").rename(tmp_path / "..data")
    assert tokens.refresh() == []
    assert (tokens.tenant_of("one"), tokens.tenant_of("two")) == (None, "uid-a")


def test_what_cannot_be_read_changes_nothing_and_is_told(tmp_path: Path) -> None:
    tokens = TenantTokens(tmp_path)
    (tmp_path / "uid-a").write_text(digest("a"))
    tokens.refresh()
    for content in ("no digest", digest("x").upper(), "\u00e9", "x" * (MAX_FILE_BYTES + 1)):
        (tmp_path / "new").write_text(content)
        (tmp_path / "new").rename(tmp_path / "uid-a")
        (problem,) = tokens.refresh()
        assert problem.startswith(f"{tmp_path}/uid-a: ")
        assert tokens.tenant_of("a") == "uid-a"
    (tmp_path / "no tenant").write_text(digest("b"))
    assert any("the name of a file is a tenant's UID" in one for one in tokens.refresh())
    shutil.rmtree(tmp_path)
    (problem,) = tokens.refresh()
    assert "the tokens known before stay in force" in problem
    assert tokens.tenant_of("a") == "uid-a"


def test_a_token_that_two_tenants_have_is_nobodys(tmp_path: Path) -> None:
    for tenant in ("uid-a", "uid-b"):
        (tmp_path / tenant).write_text(f"{digest('shared')}\n{digest(tenant)}")
    tokens = TenantTokens(tmp_path)
    (problem,) = tokens.refresh()
    assert problem == "a token is of uid-a and uid-b: it is refused"
    assert tokens.tenant_of("shared") is None
    assert tokens.tenant_of("uid-b") == "uid-b"
