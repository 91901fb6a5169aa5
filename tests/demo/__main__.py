"""Runs `make demo`: a cluster, the operator, a tenant, a canary that is promoted, one that is rolled back and one that is kept, and the bill of it."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from tests.cluster import cluster_records
from tests.cluster.errors import ClusterError
from tests.cluster.session import provider
from tests.demo import billing, prepare, quiet_command, stage, story, things_to_try
from tests.demo.commands import Cluster, DemoFailed
from tests.demo.view.screen import Screen, say, show_bill

CLUSTER: Final = "relay-demo"
STATE: Final = stage.ROOT / ".demo"
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo")
    parser.add_argument("--down", action="store_true", help="delete the demonstration's cluster")
    parser.add_argument("--keep", action="store_true", help="leave the cluster to play with")
    arguments = parser.parse_args()
    demonstration = Demonstration(Console(highlight=False), provider.find())
    return demonstration.remove() if arguments.down else demonstration.run(keep=arguments.keep)


class Demonstration:
    """The demonstration's cluster and what is told of it."""

    def __init__(self, console: Console, found: provider.Provider, *, state: Path = STATE) -> None:
        self._console = console
        self._found = found
        self._state = state
        self._cluster = Cluster(CLUSTER, state / "kubeconfig", found.kubectl, found.helm)

    def run(self, *, keep: bool) -> int:
        """Runs all of it; returns the exit code. The cluster stays only if keep says so, and never after Ctrl-C."""
        last, code = "", 0
        # what ends us otherwise is to leave no more behind
        for one in _ENDING:
            signal.signal(one, signal.default_int_handler)
        try:
            last = self._show().line()
            if keep:
                # what there is to try needs traffic
                stage.start_caller(self._cluster)
                say(self._console, "the tenant's application goes on: 80 calls per second")
        except (DemoFailed, ClusterError, subprocess.TimeoutExpired, AssertionError) as error:
            say(self._console, f"demo: failed\n{error}")
            code = 1
        except KeyboardInterrupt:
            say(self._console, "demo: interrupted")
            keep, code = False, INTERRUPTED
        except BaseException:
            # a defect of ours: told by its traceback
            self.remove()
            raise
        if keep and self._cluster.kubeconfig.exists():
            say(self._console, things_to_try.text(self._cluster))
            say(self._console, "The cluster stays. To remove it: make demo-down")
        else:
            code = self.remove() or code
        if code == 0:
            say(self._console, last)
        return code

    def remove(self) -> int:
        """Deletes the cluster and its files; a further Ctrl-C does not keep it from that."""
        before = {one: signal.signal(one, signal.SIG_IGN) for one in _ENDING}
        try:
            say(self._console, f"removing the cluster {CLUSTER}, up to half a minute")
            self._kind("delete", "cluster", "--name", CLUSTER)
        except DemoFailed as error:
            say(self._console, f"demo: failed: the cluster is not removed\n{error}")
            return 1
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
        for leftover in self._state.glob("*"):
            leftover.unlink()
        if self._state.exists():
            self._state.rmdir()
        say(self._console, f"the cluster {CLUSTER} is removed")
        return 0

    def _show(self) -> story.Outcome:
        say(self._console, f"cluster: {self._found.reason}")
        prepare.prepare(self._found, self._console)
        fresh = self._create()
        with self._doing("images loaded"):
            stage.load_images(self._found.kind, CLUSTER)
        does = "installed: the operator and its ledger (helm), two simulated providers, Prometheus"
        with self._doing(does):
            if not fresh:
                stage.clear(self._cluster)
            stage.install(
                self._cluster,
                dns_cidrs=stage.dns_server_cidrs(self._cluster),
                ledger_directory=self._ledger_directory(),
            )
        with Screen(self._console, self._cluster) as screen:
            outcome = story.run(self._cluster, screen.tell, billed=True)
            bill = billing.read(self._cluster, answered=outcome.answered_requests)
        show_bill(self._console, bill)
        return outcome

    def _ledger_directory(self) -> Path:
        """Returns a directory of the node that goes with the cluster: a node of the embedded one has the files of this machine."""
        record = cluster_records.read(CLUSTER) if self._found.embedded else None
        return (record.directory if record is not None else Path("/var/lib")) / "relay-demo-ledger"

    def _create(self) -> bool:
        """Creates the cluster, or takes the one that KEEP=1 left; returns whether it is a new one."""
        self._state.mkdir(exist_ok=True)
        at = ("--name", CLUSTER, "--kubeconfig", str(self._cluster.kubeconfig))
        if CLUSTER in self._kind("get", "clusters").split():
            self._kind("export", "kubeconfig", *at)
            say(self._console, f"cluster {CLUSTER}: there is one, it is used again")
            return False
        quiet_command.run(
            [str(self._found.kind), "create", "cluster", *at, "--wait", "120s"],
            does=f"cluster {CLUSTER}",
            console=self._console,
            log=self._state / "create.log",
            environment=self._environment(),
        )
        return True

    def _environment(self) -> dict[str, str]:
        # keeps kind from merging its kubeconfig into the user's own
        return {**os.environ, "KUBECONFIG": str(self._cluster.kubeconfig)}

    def _kind(self, *arguments: str) -> str:
        command = [str(self._found.kind), *arguments]
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise DemoFailed(f"{' '.join(command)}\n{done.stderr}")
        return done.stdout

    def _doing(self, does: str) -> "_Timed":
        return _Timed(self._console, does)


class _Timed:
    """Tells what was done once it is, and how long it took; meanwhile a terminal has a spinner."""

    def __init__(self, console: Console, does: str) -> None:
        self._console = console
        self._does = does
        self._status = console.status(f"{does} ...") if console.is_terminal else None
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.monotonic()
        if self._status is not None:
            self._status.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._status is not None:
            self._status.stop()
        if kind is None:
            say(self._console, f"{self._does} ({time.monotonic() - self._began:.1f} s)")


if __name__ == "__main__":
    sys.exit(main())
