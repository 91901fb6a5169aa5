"""What the demonstration leaves behind, with a command in kind's place that notes what it is asked for."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[3]
_KIND: Final = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$1 $2" in
  "create cluster") echo kubeconfig > "$STATE/kubeconfig"; {create} ;;
  "load docker-image") exit 7 ;;
esac
"""
_MAIN: Final = """
import sys
from pathlib import Path
from rich.console import Console
from tests.cluster.session.provider import Provider
from tests.demo.__main__ import Demonstration
kind, state, keep = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "keep"
found = Provider(kind=kind, kubectl=kind, helm=kind, embedded=True, reason="a test")
sys.exit(Demonstration(Console(), found, state=state).run(keep=keep))
"""


@dataclass(frozen=True, slots=True)
class Started:
    process: subprocess.Popen[str]
    calls: Path
    state: Path

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    def wait_for(self, call: str) -> None:
        deadline = time.monotonic() + 60
        while not any(one.startswith(call) for one in self.called()):
            assert time.monotonic() < deadline, self.called()
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)


def start(folder: Path, *, create: str, keep: bool = False) -> Started:
    kind, state, calls = folder / "kind", folder / "state", folder / "calls"
    kind.write_text(_KIND.format(create=create))
    kind.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, str(kind), str(state), "keep" if keep else "go"],
        cwd=ROOT,
        env={
            **os.environ,
            "CALLS": str(calls),
            "STATE": str(state),
            "RELAY_CACHE": str(folder / "cache"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    return Started(process, calls, state)


def test_ctrl_c_removes_the_cluster_also_where_it_was_to_be_kept(tmp_path: Path) -> None:
    started = start(tmp_path, create="sleep 60", keep=True)
    started.wait_for("create cluster")
    os.killpg(started.process.pid, signal.SIGINT)
    said, _ = started.process.communicate(timeout=60)
    assert started.process.returncode == 130
    assert started.called()[-1] == "delete cluster --name relay-demo"
    assert "demo: interrupted" in said
    assert said.splitlines()[-1] == "the cluster relay-demo is removed"
    assert not started.state.exists()


@pytest.mark.parametrize("ends", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_job_otherwise_leaves_no_more_behind(
    tmp_path: Path, ends: signal.Signals
) -> None:
    started = start(tmp_path, create="sleep 60")
    started.wait_for("create cluster")
    os.killpg(started.process.pid, ends)
    started.process.communicate(timeout=60)
    assert started.process.returncode == 130
    assert started.called()[-1] == "delete cluster --name relay-demo"
    assert not started.state.exists()


def test_a_failure_has_an_exit_code_and_removes_the_cluster(tmp_path: Path) -> None:
    started = start(tmp_path, create="echo no room; exit 3")
    said, _ = started.process.communicate(timeout=60)
    assert started.process.returncode == 1
    assert "demo: failed" in said
    assert "no room" in said
    assert "demo: ok" not in said
    assert started.called()[-1] == "delete cluster --name relay-demo"


def test_a_failure_later_on_leaves_a_cluster_that_was_to_be_kept(tmp_path: Path) -> None:
    started = start(tmp_path, create="true", keep=True)
    said, _ = started.process.communicate(timeout=60)
    assert started.process.returncode == 1
    assert "make demo-down" in said
    assert not any(call.startswith("delete") for call in started.called())
    assert (started.state / "kubeconfig").exists()
