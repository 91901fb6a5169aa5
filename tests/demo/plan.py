"""What `make demo` is going to do, and how long that takes: said before anything is installed, so with the standard library alone."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import paths
from tests.cluster.errors import ClusterError
from tests.cluster.session import provider

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Step:
    """A step, its time where nothing of it is there yet, and where all of it is."""

    does: str
    cold: str
    warm: str
    is_warm: bool

    @property
    def takes(self) -> str:
        return self.warm if self.is_warm else self.cold


def steps(*, venv: bool, programs: bool, images: bool, embedded: bool) -> Sequence[Step]:
    """Returns the steps. Times are those of runs on two cores; that of images with an empty cache is an estimate."""
    first = Step("development tools into .venv", "1 min", "there", venv)
    cluster = (
        Step("compile Kubernetes, etcd, helm (once)", "8 to 13 min", "there", programs),
        Step("images of operator, simulator, Prometheus", "2 to 3 min", "up to 1 min", images),
    )
    docker = (Step("images, by the Docker engine", "3 min", "seconds", images),)
    return (
        first,
        *(cluster if embedded else docker),
        Step("a cluster, the operator by helm, providers, Prometheus", "50 s", "50 s", True),
        Step(
            "a tenant; a canary promoted, one rolled back, one kept; the bill",
            "2 min",
            "2 min",
            True,
        ),
    )


def lines(planned: Sequence[Step], *, keep: bool) -> Iterator[str]:
    """Writes the plan."""
    yield "make demo runs the operator on a real Kubernetes, on this machine:"
    width = max(len(step.does) for step in planned)
    for number, step in enumerate(planned, 1):
        yield f"  {number}. {step.does:<{width}}  {step.takes}"
    if keep:
        yield "Afterwards the cluster stays (KEEP=1); make demo-down removes it."
    else:
        yield "Afterwards the cluster is removed, as it is by Ctrl-C; make demo KEEP=1 leaves it to play with."


def _venv_is_there() -> bool:
    """Tells whether the Makefile has nothing to install: its stamp names the lock file's digest."""
    lock = (ROOT / "requirements-dev.lock").read_bytes()
    return (ROOT / ".venv" / f".installed-{hashlib.sha256(lock).hexdigest()[:16]}").exists()


def _here() -> Sequence[Step]:
    """Returns the steps for this machine; what cannot be found out counts as not there."""
    try:
        found = provider.find()
    except (ClusterError, ValueError):
        # make demo itself says what is missing
        return steps(venv=_venv_is_there(), programs=False, images=False, embedded=True)
    layers = paths.layers_root()
    return steps(
        venv=_venv_is_there(),
        programs=found.kubectl.exists(),
        images=layers.is_dir() and any(layers.glob("relay-operator-*")),
        embedded=found.embedded,
    )


def main() -> int:
    """Prints the plan for this machine."""
    for line in lines(_here(), keep="--keep" in sys.argv[1:]):
        sys.stdout.write(f"{line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
