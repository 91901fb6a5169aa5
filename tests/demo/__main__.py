"""Runs `make demo`: a cluster, the operator, a tenant, a canary that is promoted and one that is rolled back."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.session import provider
from tests.demo import prepare, stage, story
from tests.demo.commands import Cluster, DemoFailed
from tests.demo.stage import say

CLUSTER = "relay-demo"
STATE = stage.ROOT / ".demo"


def main() -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo")
    parser.add_argument(
        "--down",
        action="store_true",
        help="delete the demonstration's cluster",
    )
    arguments = parser.parse_args()
    found = provider.find()
    if arguments.down:
        return _down(found)
    try:
        outcome = _up(found)
    except (DemoFailed, ClusterError, subprocess.TimeoutExpired, AssertionError) as error:
        say(f"demo: failed\n{error}")
        return 1
    say("To look around: export KUBECONFIG=" + str(STATE / "kubeconfig"))
    say("                kubectl get relay -A; kubectl -n relay-finance describe relayroute chat")
    say("To delete the cluster: make demo-down")
    say(outcome.line())
    return 0


def _up(found: provider.Provider) -> story.Outcome:
    say(f"cluster: {found.reason}")
    prepare.prepare(found)
    STATE.mkdir(exist_ok=True)
    kubeconfig = STATE / "kubeconfig"
    began = time.monotonic()
    fresh = CLUSTER not in _kind(found, "get", "clusters").split()
    if fresh:
        _kind(
            found,
            "create",
            "cluster",
            "--name",
            CLUSTER,
            "--kubeconfig",
            str(kubeconfig),
            "--wait",
            "120s",
            show=True,
        )
    else:
        _kind(found, "export", "kubeconfig", "--name", CLUSTER, "--kubeconfig", str(kubeconfig))
    say(
        f"cluster {CLUSTER} {'is running' if fresh else 'was already running'} ({time.monotonic() - began:.1f} s)"
    )
    cluster = Cluster(CLUSTER, kubeconfig, found.kubectl, found.helm)
    began = time.monotonic()
    stage.load_images(found.kind, CLUSTER)
    say(f"images loaded ({time.monotonic() - began:.1f} s)")
    began = time.monotonic()
    if not fresh:
        stage.clear(cluster)
    stage.install(cluster, dns_cidrs=stage.dns_server_cidrs(cluster))
    say(
        f"installed: the operator (helm), two simulated providers, Prometheus ({time.monotonic() - began:.1f} s)"
    )
    return story.run(cluster, say)


def _down(found: provider.Provider) -> int:
    _kind(found, "delete", "cluster", "--name", CLUSTER)
    for leftover in STATE.glob("*"):
        leftover.unlink()
    if STATE.exists():
        STATE.rmdir()
    say("the demonstration's cluster is deleted")
    return 0


def _kind(found: provider.Provider, *arguments: str, show: bool = False) -> str:
    # keeps kind from merging its kubeconfig into the user's own
    environment = {**os.environ, "KUBECONFIG": str(Path(STATE / "kubeconfig"))}
    stderr = None if show else subprocess.PIPE
    done = subprocess.run(
        [str(found.kind), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoFailed(f"{found.kind} {' '.join(arguments)}\n{done.stderr or ''}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
