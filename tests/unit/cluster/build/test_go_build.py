"""Builds happen once, continue after an interruption, and report why they failed."""

from pathlib import Path

import pytest
from tests.cluster.build import go_build, go_programs
from tests.cluster.errors import ClusterError, ToolMissing

PROGRAMS = [program.name for module in go_programs.MODULES for program in module.programs]

FAKE_GO = """#!/bin/sh
[ "$1" = env ] && { echo "$FAKE_GO_VERSION"; exit 0; }
for word; do [ "$previous" = -o ] && out=$word; previous=$word; done
echo "$previous" >> "$FAKE_GO_LOG"
case $previous in *$FAKE_GO_BROKEN) echo "cannot find package"; exit 2 ;; esac
echo "$previous" > "$out"
"""


class Toolchain:
    """A go command that writes its package's name instead of a program, and counts its calls."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._log = directory / "log"
        self._monkeypatch = monkeypatch
        (directory / "bin").mkdir()
        (directory / "bin" / "go").write_text(FAKE_GO)
        (directory / "bin" / "go").chmod(0o755)
        monkeypatch.setenv("PATH", f"{directory / 'bin'}:/usr/bin:/bin")
        monkeypatch.setenv("RELAY_CACHE", str(directory / "cache"))
        monkeypatch.setenv("FAKE_GO_LOG", str(self._log))
        self.says("go1.26.8")
        self.breaks_at("no/such/package")

    def says(self, version: str) -> None:
        self._monkeypatch.setenv("FAKE_GO_VERSION", version)

    def breaks_at(self, package: str) -> None:
        self._monkeypatch.setenv("FAKE_GO_BROKEN", package)

    @property
    def built(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture
def toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    return Toolchain(tmp_path, monkeypatch)


def silently(_: str) -> None:
    return None


def test_every_program_is_built_once_and_found_in_one_directory(toolchain: Toolchain) -> None:
    directory = go_build.ensure_binaries(silently)
    assert sorted(path.name for path in directory.iterdir()) == sorted(PROGRAMS)
    assert "kube-apiserver" in (directory / "kube-apiserver").read_text()
    assert go_build.ensure_binaries(silently) == directory == go_build.find_binaries()
    assert len(toolchain.built) == len(PROGRAMS)


def test_kstatus_is_built_for_those_who_ask_for_it(toolchain: Toolchain) -> None:
    program = go_build.ensure_tool(go_programs.KSTATUS, silently)
    assert program.read_text() == "relay-operator.dev/cluster/kstatus\n"
    assert go_build.ensure_tool(go_programs.KSTATUS, silently) == program
    assert toolchain.built == ["relay-operator.dev/cluster/kstatus"]


def test_all_programs_of_a_module_are_built_once_for_those_who_ask_for_it(
    toolchain: Toolchain,
) -> None:
    module = go_programs.PROMETHEUS_OPERATOR
    directory = go_build.ensure_tools(module, silently)
    assert {path.name for path in directory.iterdir()} == {one.name for one in module.programs}
    (directory / module.programs[-1].name).unlink()
    assert go_build.ensure_tools(module, silently) == directory
    packages = [one.package for one in module.programs]
    assert toolchain.built == [*packages, packages[-1]]


def test_progress_counts_the_programs(toolchain: Toolchain) -> None:
    said: list[str] = []
    go_build.ensure_binaries(said.append)
    assert said[0] == f"[1/{len(PROGRAMS)}] {PROGRAMS[0]}: building with go1.26.8 ..."
    assert said[-1].startswith(f"[{len(PROGRAMS)}/{len(PROGRAMS)}] {PROGRAMS[-1]}: built in ")


def test_a_failed_build_shows_the_output_of_the_compiler_and_is_resumed(
    toolchain: Toolchain,
) -> None:
    toolchain.breaks_at("kubelet")
    with pytest.raises(ClusterError, match=r"kubelet failed with exit code 2:\ncannot find"):
        go_build.ensure_binaries(silently)
    assert go_build.find_binaries() is None
    before = toolchain.built
    toolchain.breaks_at("no/such/package")
    directory = go_build.ensure_binaries(silently)
    again = toolchain.built[len(before) :]
    assert again[0].endswith("kubelet")
    assert len(before) + len(again) == len(PROGRAMS) + 1
    assert not list(directory.parent.glob("*/.*.log"))


def test_another_toolchain_builds_again(toolchain: Toolchain) -> None:
    first = go_build.ensure_binaries(silently)
    toolchain.says("go1.26.9")
    assert go_build.find_binaries() is None
    assert go_build.ensure_binaries(silently) != first


def test_an_old_toolchain_is_refused_with_what_is_needed(toolchain: Toolchain) -> None:
    toolchain.says("go1.24.4")
    with pytest.raises(ToolMissing, match=r"go1\.24\.4, which is too old: install Go 1\.26"):
        go_build.ensure_binaries(silently)
    assert toolchain.built == []


def test_a_missing_toolchain_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(go_build, "GO_CANDIDATES", ())
    with pytest.raises(ToolMissing, match="go is not installed: install Go"):
        go_build.find_go()
