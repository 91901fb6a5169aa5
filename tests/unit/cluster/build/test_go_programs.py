"""The cache key of a build changes exactly if one of its inputs does."""

from dataclasses import replace

import pytest
from tests.cluster.build import go_programs
from tests.cluster.build.go_programs import (
    KREW,
    KREW_VALIDATOR,
    KSTATUS,
    MODULES,
    PROMETHEUS_OPERATOR,
    Module,
    Program,
)
from tests.cluster.errors import ClusterError

MODULE = Module("tool", (Program("tool", "example.com/tool"),))


def key(module: Module = MODULE, **inputs: object) -> str:
    given = {"go_mod": b"module x", "go_sum": b"sum", "go_version": "go1.26.8", **inputs}
    return go_programs.cache_key(module, **given)  # type: ignore[arg-type]


def test_equal_inputs_have_one_key() -> None:
    assert key() == key()


@pytest.mark.parametrize(
    "other",
    [
        key(go_mod=b"module y"),
        key(go_sum=b"other"),
        key(go_version="go1.26.9"),
        key(sources=(b"package main",)),
        key(replace(MODULE, linker_flags="-s")),
        key(replace(MODULE, programs=(Program("tool", "example.com/other"),))),
        key(replace(MODULE, programs=(Program("other", "example.com/tool"),))),
        # bytes that move from one input to the next
        key(go_mod=b"module xs", go_sum=b"um"),
    ],
)
def test_any_different_input_changes_the_key(other: str) -> None:
    assert other != key()


def test_every_module_is_pinned_and_provides_its_programs() -> None:
    for module in (*MODULES, KSTATUS, KREW, KREW_VALIDATOR, PROMETHEUS_OPERATOR):
        go_mod = (module.path / "go.mod").read_text()
        assert go_mod.startswith("module relay-operator.dev/cluster/")
        assert (module.path / "go.sum").stat().st_size > 0
        for program in module.programs:
            assert program.package in go_mod


def test_program_names_are_unique() -> None:
    names = [program.name for module in MODULES for program in module.programs]
    assert len(names) == len(set(names))


def test_server_and_client_of_kubernetes_report_their_version() -> None:
    (kubernetes,) = (module for module in MODULES if module.directory == "kubernetes")
    assert (
        f"k8s.io/kubernetes {go_programs.KUBERNETES_VERSION}"
        in (kubernetes.path / "go.mod").read_text()
    )
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        assert (
            f"-X {package}.gitVersion={go_programs.KUBERNETES_VERSION}" in kubernetes.linker_flags
        )


@pytest.mark.parametrize(
    ("said", "version"),
    [("go1.26.8\n", (1, 26, 8)), ("go1.27", (1, 27)), ("go1.27rc1", (1, 27)), ("go2", (2,))],
)
def test_toolchain_versions_are_read(said: str, version: tuple[int, ...]) -> None:
    assert go_programs.parse_go_version(said) == version


def test_a_toolchain_without_a_version_is_refused() -> None:
    with pytest.raises(ClusterError, match="cannot read a version"):
        go_programs.parse_go_version("devel +abc")


def test_the_needed_toolchain_is_the_newest_directive() -> None:
    directives = [
        go_programs.parse_go_directive((m.path / "go.mod").read_text(), m.directory)
        for m in MODULES
    ]
    assert go_programs.required_go_version() == max(directives) >= (1, 26)
