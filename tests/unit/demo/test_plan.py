"""What the demonstration says before it begins."""

import subprocess
import sys
from pathlib import Path

from tests.demo import plan


def said(*, keep: bool = False, **there: bool) -> str:
    state = {"venv": False, "programs": False, "images": False, "embedded": True} | there
    return "\n".join(plan.lines(plan.steps(**state), keep=keep))


def test_an_empty_machine_is_told_that_kubernetes_is_compiled_once() -> None:
    assert "8 to 13 min" in said()
    assert "8 to 13 min" not in said(programs=True)


def test_what_becomes_of_the_cluster_is_said_beforehand() -> None:
    assert "make demo-down removes it" in said(keep=True)
    assert "the cluster is removed" in said()


def test_docker_compiles_nothing() -> None:
    assert "compile" not in said(embedded=False)


def test_it_needs_nothing_that_is_not_installed_yet(tmp_path: Path) -> None:
    """It is said before the development tools are there: by an interpreter that sees no packages."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "tests.demo.plan"],
        cwd=plan.ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": "operator:."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("make demo runs the operator on a real Kubernetes")
