"""What was read of a Secret stands until something shows another version of it."""

import pytest

from relay_operator.reconcile.keys.secret_versions import RECENT_SECONDS, SecretVersions

SPACE, SECRET = "relay-finance", "relay-api-keys"


def read_at(version: str) -> SecretVersions:
    versions = SecretVersions()
    versions.note(SPACE, SECRET, version)
    return versions


def stands(versions: SecretVersions, version: str, *, age: float = 0.0) -> bool:
    return versions.stands(SPACE, SECRET, version, age=age)


def test_what_was_read_stands_for_a_while_and_for_longer_where_a_watch_follows() -> None:
    versions = read_at("7")
    assert stands(versions, "7", age=RECENT_SECONDS - 1)
    assert not stands(versions, "7", age=RECENT_SECONDS)
    versions.is_followed = lambda secret: secret == SECRET
    assert stands(versions, "7", age=10**6)


def test_another_version_than_the_last_one_never_stands() -> None:
    versions = read_at("7")
    assert not stands(versions, "6")
    versions.note(SPACE, SECRET, "9")
    assert not stands(versions, "7")
    assert not stands(read_at(""), "")
    assert not stands(SecretVersions(), "7")


@pytest.mark.parametrize("shown", ["8", ""], ids=["changed", "deleted in a gap"])
def test_nothing_stands_once_another_version_was_shown(shown: str) -> None:
    versions = read_at("7")
    versions.show(SPACE, SECRET, shown)
    assert not stands(versions, "7")
    assert not versions.are_as_read(SPACE)
    versions.note(SPACE, SECRET, "8")
    assert stands(versions, "8")
    assert versions.are_as_read(SPACE)


def test_a_read_that_was_under_way_when_a_newer_version_was_shown_does_not_stand() -> None:
    versions = read_at("7")
    versions.show(SPACE, SECRET, "8")
    versions.note(SPACE, SECRET, "7")
    assert not stands(versions, "7")
    versions.note(SPACE, SECRET, "")
    assert not versions.are_as_read(SPACE)


def test_a_tenant_that_is_gone_leaves_nothing() -> None:
    versions = read_at("7")
    versions.show(SPACE, SECRET, "8")
    versions.forget(SPACE)
    versions.note(SPACE, SECRET, "7")
    assert stands(versions, "7")


@pytest.mark.parametrize("shown", ["9", ""], ids=["by a watch", "in a gap"])
def test_a_secret_that_was_deleted_and_is_not_there_is_as_it_was_shown(shown: str) -> None:
    versions = read_at("7")
    versions.show(SPACE, SECRET, shown, is_gone=True)
    assert not versions.are_as_read(SPACE)
    versions.note(SPACE, SECRET, "")
    assert versions.are_as_read(SPACE)


def test_a_secret_that_came_again_is_read_again() -> None:
    versions = read_at("7")
    versions.show(SPACE, SECRET, "9", is_gone=True)
    versions.show(SPACE, SECRET, "11")
    # a read from between the two
    versions.note(SPACE, SECRET, "")
    assert not versions.are_as_read(SPACE)
    versions.note(SPACE, SECRET, "11")
    assert versions.are_as_read(SPACE)
