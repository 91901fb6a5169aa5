"""The query that asks for the counters of relay pods, in PromQL."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from relay_operator.decisions.analysis.evidence import Question
from relay_operator.decisions.analysis.scrapes import (
    ATTEMPTS,
    BREAKER,
    COPIES,
    START_TIME,
    TOKEN_KINDS,
)
from relay_operator.decisions.analysis.shadow_evidence import ShadowQuestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels by which the scraper says what it scraped, and the name of the job that scrapes the SLO counters.

    Other jobs may let a pod say who it is (`honor_labels`), so only this one's series count.
    """

    job: str = "relays-slo"
    job_label: str = "job"
    namespace_label: str = "namespace"
    pod_label: str = "pod"


def range_query(question: Question | ShadowQuestion, labels: Labels) -> str:
    """Returns the query for the samples of the last scrapes, one for any number of pods and routes.

    A range selector in an instant query gives samples with their own times, so that a dead target cannot look alive
    through Prometheus' look-back of five minutes. An empty alternative matches series that lack the label.
    """
    names = f"{COPIES}|{START_TIME}" if isinstance(question, ShadowQuestion) else _names(question)
    matchers = [
        f'__name__=~"{names}"',
        f'{labels.job_label}="{_literal(labels.job)}"',
        f'{labels.namespace_label}=~"{_any(space for space, _ in question.pods)}"',
        f'{labels.pod_label}=~"{_any(pod for _, pod in question.pods)}"',
        f'route=~"|{_any(question.routes)}"',
    ]
    if not isinstance(question, ShadowQuestion):
        matchers += [
            'side=~"|stable|canary"',
            f'signal=~"|{_any(question.signals)}"',
            f'kind=~"|{_any(TOKEN_KINDS)}"',
        ]
    return f"{{{','.join(matchers)}}}[{max(math.ceil(question.seconds), 1)}s]"


def _names(question: Question) -> str:
    counted = [*ATTEMPTS]
    if question.signals:
        counted += ["slow", "timed"]
    if question.tokens:
        counted += ["reported"]
    names = [f"relay_slo_attempts_({'|'.join(counted)})_total", "relay_slo_attempts_under_way"]
    if question.tokens:
        names.append("relay_slo_tokens_total")
    return "|".join([*names, BREAKER, START_TIME])


def _any(names: Iterable[str]) -> str:
    """Returns an expression for any of the names; in those of Kubernetes objects only the dot means something else."""
    return "|".join(sorted({name.replace(".", "[.]") for name in names}))


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
