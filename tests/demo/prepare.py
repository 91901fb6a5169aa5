"""Builds programs and images before a cluster is created, and shows the progress."""

import sys

from rich.console import Console
from tests.cluster import paths
from tests.cluster.errors import ClusterError
from tests.cluster.images import docker_engine
from tests.cluster.session import provider
from tests.demo import quiet_command
from tests.demo.commands import DemoFailed
from tests.demo.view.screen import say

STEPS = {
    "binaries": "programs",
    "images": "images",
}


def prepare(found: provider.Provider, console: Console | None = None) -> None:
    """Builds programs and images that are missing or outdated. Raises DemoFailed or ClusterError."""
    console = console or Console(highlight=False)
    if not found.embedded:
        docker_engine.build()
        return
    for what, does in STEPS.items():
        quiet_command.run(
            [str(found.kind), "build", what],
            does=does,
            console=console,
            log=paths.cache_root() / f"prepare-{what}.log",
        )


def main() -> int:
    """Runs the command and returns its exit code."""
    console = Console(highlight=False)
    chosen = provider.find()
    say(console, f"cluster: {chosen.reason}")
    try:
        prepare(chosen, console)
    except (DemoFailed, ClusterError) as error:
        say(console, str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
