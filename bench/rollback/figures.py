"""Figures of rollbacks, beside those of other operators, and the lines that tell them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.rollback.scene import Run


@dataclass(frozen=True, slots=True)
class Reference:
    """Seconds from the breach to the end of the traffic, measured with 100 canaries on the same kind of machine."""

    name: str
    p50: float
    p99: float


REFERENCES: Final = (Reference("Argo Rollouts", 5.8, 7.6), Reference("Flagger", 15.3, 20.9))


def quantile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least this share of the values does not exceed: of 50 the p99 is the largest."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def row(name: str, runs: Sequence[Run]) -> str:
    """Returns a row of the table."""
    seconds = [run.seconds for run in runs]
    asked = [run.asked for run in runs if run.asked is not None]
    return (
        f"| {name} | {len(runs)} | {_both(seconds)} | {min(seconds):.3f} to {max(seconds):.3f} | {_both(asked)} "
        f"| {' | '.join(_times(seconds, one) for one in REFERENCES)} |"
    )


def head() -> str:
    """Returns the head of the table."""
    others = " | ".join(
        f"times sooner than {one.name} ({one.p50:g} / {one.p99:g} s)" for one in REFERENCES
    )
    return (
        "| relay pods | runs | s to 0 % at every pod, p50 / p99 | all | of it until the operator has the sample, p50 / p99 "
        f"| {others} |\n|---|---|---|---|---|{'---|' * len(REFERENCES)}"
    )


def milliseconds(name: str, runs: Sequence[Run]) -> str:
    """Returns both figures for the machine-readable line."""
    seconds = [run.seconds for run in runs]
    return f"p50_ms{name}={1000 * quantile(seconds, 0.5):.0f} p99_ms{name}={1000 * quantile(seconds, 0.99):.0f}"


def _both(values: Sequence[float]) -> str:
    return f"{quantile(values, 0.5):.3f} / {quantile(values, 0.99):.3f}" if values else "none"


def _times(seconds: Sequence[float], reference: Reference) -> str:
    p50, p99 = (quantile(seconds, share) for share in (0.5, 0.99))
    return f"{reference.p50 / p50:.1f} / {reference.p99 / p99:.1f}"
