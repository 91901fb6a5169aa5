"""The list of compiled modules and the rooms of the relay agree."""

from pathlib import Path

import pytest

from hatch_build import (
    EXTENSIONS,
    INTERPRETED,
    SOURCE_ROOT,
    CompilationFailed,
    compile_extension,
    hot_path,
    is_interpreted,
)

RELAY = SOURCE_ROOT / "relay"
HOT_ROOMS = (
    "calls",
    "accounting",
    "outbox",
    "routing",
    "admission",
    "budgets",
    "dialect",
    "http",
    "tools",
)
"""Rooms that a call passes through."""


def modules() -> list[Path]:
    return [path.relative_to(RELAY) for path in RELAY.rglob("*.py") if path.name != "__init__.py"]


def test_every_module_is_either_compiled_or_interpreted_for_a_reason() -> None:
    compiled = {Path(name) for name in hot_path()}
    interpreted = {path for path in modules() if is_interpreted(path)}
    assert compiled | interpreted == set(modules())
    assert not compiled & interpreted
    assert all(INTERPRETED.values())


def test_what_is_named_as_interpreted_exists() -> None:
    assert [name for name in INTERPRETED if not (RELAY / name).exists()] == []


def test_every_room_is_known_to_be_hot_or_not() -> None:
    rooms = {path.parent.name for path in RELAY.glob("*/__init__.py")}
    assert rooms == {*HOT_ROOMS, "process"}
    assert not rooms & INTERPRETED.keys() & set(HOT_ROOMS)


def test_a_hot_room_is_compiled_but_for_a_few_modules() -> None:
    for room in HOT_ROOMS:
        inside = [path for path in modules() if path.parts[0] == room]
        assert sum(is_interpreted(path) for path in inside) <= len(inside) // 4, room


@pytest.mark.parametrize("name", EXTENSIONS)
def test_a_module_in_c_that_cannot_be_built_fails_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(CompilationFailed, match="no-such-compiler"):
        compile_extension(name, tmp_path)
