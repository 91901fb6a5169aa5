"""What a fresh clone takes over from the last: its tools, and what mypy knows of sources."""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests import kept
from tests.kept import KEPT, Place

SOURCE = "def length(text: str) -> int:\n    return len(text)\n"
FAULT = "def length(text: int) -> int:\n    return len(text)\n"
LATER_SECONDS = 10
_clones = itertools.count(1)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def a_clone(home: Path, cache: Path, *, lock: str = "one==1", source: str = SOURCE) -> Place:
    """Makes a clone whose sources were written a while after now, and after those of the clones before it."""
    for name in kept.SOURCES:
        (home / name).mkdir(parents=True)
    (home / "requirements-dev.lock").write_text(lock)
    written = home / "operator" / "lengths.py"
    written.write_text(source)
    later = time.time() + LATER_SECONDS * next(_clones)
    os.utime(written, (later, later))
    return Place(home, cache)


def install(place: Place, *, word: str) -> None:
    """Makes an environment with a program that says the word, and where it is."""
    programs = place.tools / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    (programs / "tool").write_text(
        f"#!{programs}/python -S\nimport sys\nprint('{word}', sys.argv[0])\n"
    )
    (programs / "tool").chmod(0o755)
    (place.tools / "pyvenv.cfg").write_text(f"command = python3 -m venv {place.tools}\n")


def says(place: Place) -> str:
    done = subprocess.run([place.tools / "bin" / "tool"], capture_output=True, check=True)
    return done.stdout.decode().split()[0]


def test_the_next_clone_has_the_tools_of_the_last_one_as_its_own(
    tmp_path: Path, cache: Path
) -> None:
    first, second = a_clone(tmp_path / "first", cache), a_clone(tmp_path / "second", cache)
    install(first, word="kept")
    written = (first.tools / "pyvenv.cfg").stat().st_mtime
    os.utime(first.tools / "bin" / "tool", (written - 100, written - 100))
    kept.keep_tools(first)
    assert kept.take_tools(second)
    assert says(second) == "kept"
    texts = [path for path in second.tools.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sorted(path.name for path in texts) == ["pyvenv.cfg", "tool"]
    assert all(str(second.clone) in path.read_text() for path in texts)
    assert not [path for path in texts if str(first.clone) in path.read_text()]
    (second.tools / "bin" / "tool").write_text("changed in the second")
    assert says(first) == "kept"
    third = a_clone(tmp_path / "third", cache)
    assert kept.take_tools(third)
    assert says(third) == "kept"


def test_what_is_compiled_stays_up_to_date(tmp_path: Path, cache: Path) -> None:
    """Python compares the time of a module's file with that which is written into what it compiled."""
    first, second = a_clone(tmp_path / "first", cache), a_clone(tmp_path / "second", cache)
    install(first, word="kept")
    module = first.tools / "module.py"
    module.write_text("")
    os.utime(module, (1000, 1000))
    kept.keep_tools(first)
    assert kept.take_tools(second)
    assert (second.tools / "module.py").stat().st_mtime == 1000


def test_tools_of_another_lock_file_are_not_taken(tmp_path: Path, cache: Path) -> None:
    first = a_clone(tmp_path / "first", cache)
    second = a_clone(tmp_path / "second", cache, lock="one==2")
    install(first, word="older")
    install(second, word="own")
    kept.keep_tools(first)
    assert not kept.take_tools(second)
    assert says(second) == "own"


def test_tools_that_are_taken_replace_those_that_are_there(tmp_path: Path, cache: Path) -> None:
    first, second = a_clone(tmp_path / "first", cache), a_clone(tmp_path / "second", cache)
    install(first, word="kept")
    install(second, word="own")
    (second.tools / "bin" / "left").write_text("of an older lock file")
    kept.keep_tools(first)
    assert kept.take_tools(second)
    assert says(second) == "kept"
    assert not (second.tools / "bin" / "left").exists()
    assert sorted(path.name for path in second.clone.iterdir() if path.name.startswith(".")) == [
        ".venv"
    ]


def test_where_programs_cannot_name_their_python_nothing_is_kept(
    tmp_path: Path, cache: Path
) -> None:
    place = a_clone(tmp_path / "a directory", cache)
    install(place, word="own")
    kept.keep_tools(place)
    assert not kept.take_tools(place)
    assert not cache.exists()


def test_the_tools_that_were_used_last_stay(tmp_path: Path, cache: Path) -> None:
    places = [a_clone(tmp_path / f"{n}", cache, lock=f"one=={n}") for n in range(KEPT + 1)]
    for age, place in zip(range(len(places), 0, -1), places, strict=True):
        install(place, word="kept")
        kept.keep_tools(place)
        if place.kept("tools").exists():
            os.utime(place.kept("tools"), (1000 - age, 1000 - age))
    install(last := a_clone(tmp_path / "last", cache, lock="last"), word="kept")
    kept.keep_tools(last)
    found = {path.name for path in (cache / "tools").iterdir() if not path.name.startswith(".")}
    assert found == {place.kept("tools").name for place in [*places[2:], last]}


def checked(place: Place) -> list[str]:
    """Returns the faults that mypy finds in a clone."""
    kept.take_types(place)
    command = [sys.executable, "-m", "mypy", "--config-file=", "operator/lengths.py"]
    done = subprocess.run(command, cwd=place.clone, capture_output=True, text=True, check=False)
    kept.keep_types(place)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()[:-1]


def test_mypy_finds_a_fault_although_another_clone_had_none(tmp_path: Path, cache: Path) -> None:
    assert checked(a_clone(tmp_path / "first", cache)) == []
    second = a_clone(tmp_path / "second", cache, source=FAULT)
    [fault] = checked(second)
    assert "incompatible type" in fault
    # it stays known to those that take it from there, and ends with what it was
    third = a_clone(tmp_path / "third", cache, source=FAULT)
    assert checked(third) == [fault]
    assert checked(a_clone(tmp_path / "fourth", cache)) == []


def types_of(place: Place, text: str) -> None:
    place.types.mkdir()
    (place.types / "known").write_text(text)


def test_what_mypy_knows_is_taken_by_a_clone_whose_sources_are_younger(
    tmp_path: Path, cache: Path
) -> None:
    """Contents of one size, written in the same second, are the same to mypy."""
    first, younger = a_clone(tmp_path / "first", cache), a_clone(tmp_path / "younger", cache)
    same = a_clone(tmp_path / "same", cache)
    types_of(first, "kept")
    kept.keep_types(first)
    written = int((first.types / "known").stat().st_mtime)
    os.utime(same.clone / "operator" / "lengths.py", (written, written))
    kept.take_types(younger)
    kept.take_types(same)
    assert (younger.types / "known").read_text() == "kept"
    assert not same.types.exists()


def test_a_clone_goes_on_with_what_it_knows_itself(tmp_path: Path, cache: Path) -> None:
    first, second = a_clone(tmp_path / "first", cache), a_clone(tmp_path / "second", cache)
    types_of(first, "kept")
    types_of(second, "own")
    kept.keep_types(first)
    kept.take_types(second)
    assert (second.types / "known").read_text() == "own"
    kept.keep_types(second)
    third = a_clone(tmp_path / "third", cache)
    kept.take_types(third)
    assert (third.types / "known").read_text() == "own"
