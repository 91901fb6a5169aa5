"""The tests of a run are divided among its processes, each in one of them, and properties are found where they are."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import shares
from tests.unit import conftest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_each_file_of_the_unit_tests_is_in_one_share(count: int) -> None:
    files = list((ROOT / "tests/unit").rglob("test_*.py"))
    found = [shares.share(files, index=index, count=count) for index in range(count)]
    assert sorted(file for one in found for file in one) == sorted(files)
    sizes = [sum(file.stat().st_size for file in one) for one in found]
    largest = max(file.stat().st_size for file in files)
    assert max(sizes) - min(sizes) <= 2 * largest


def test_what_lies_together_is_divided_by_bytes(tmp_path: Path) -> None:
    files = [tmp_path / f"test_{name}.py" for name in "abcdef"]
    for file, size in zip(files, (10, 0, 0, 5, 5, 20), strict=True):
        file.write_text("#" * size)
    first, second = (shares.share(reversed(files), index=n, count=2) for n in (0, 1))
    assert sorted(first) == [files[0], files[5]]
    assert sorted(second) == files[1:5]


def run(directory: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(directory)]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-p", "xdist.plugin", *options, str(directory)],
        cwd=ROOT,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_every_test_runs_once_in_the_process_that_has_its_file(tmp_path: Path) -> None:
    """What the first process has to import would fail in the second, and the other way round."""
    for name, worker in (("a", 0), ("b", 1), ("c", 0), ("d", 1)):
        (tmp_path / f"test_{name}.py").write_text(
            f"import os\nassert os.environ['PYTEST_XDIST_WORKER'] == 'gw{worker}'\n"
            f"def test_{name}(): open({str(tmp_path)!r} + '/ran', 'a').write('{name}')\n"
        )
    told = run(tmp_path, "-n", "2", "--dist", "each", "-p", "tests.shares")
    assert "4 passed" in told
    assert sorted((tmp_path / "ran").read_text()) == ["a", "b", "c", "d"]


def test_a_single_process_has_all(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"test_{name}.py").write_text("def test_it(): pass\n")
    assert "2 passed" in run(tmp_path, "-p", "tests.shares")


def asked(marks: str) -> Any:
    return SimpleNamespace(option=SimpleNamespace(markexpr=marks))


def test_files_without_a_property_are_left_out_where_those_alone_are_asked_for(
    tmp_path: Path,
) -> None:
    without = tmp_path / "test_it.py"
    without.write_text("def test_it(): pass")
    for path in (Path(__file__), tmp_path):
        assert conftest.pytest_ignore_collect(path, asked("hypothesis")) is None
    assert conftest.pytest_ignore_collect(without, asked("hypothesis")) is True
    for marks in ("", "not hypothesis", "hypothesis or cluster"):
        assert conftest.pytest_ignore_collect(without, asked(marks)) is None


@given(st.none())
def a_property(_: None) -> None:
    """Holds."""


def test_a_property_that_would_be_left_out_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text("from elsewhere import a_property as test_it")
    item: Any = SimpleNamespace(nodeid="test_it", path=file, obj=a_property)
    with pytest.raises(pytest.UsageError, match="test_it"):
        conftest.pytest_collection_modifyitems([item])
    item.path = Path(__file__)
    conftest.pytest_collection_modifyitems([item])
    item.path, item.obj = file, asked
    conftest.pytest_collection_modifyitems([item])
