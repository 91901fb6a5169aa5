"""Limiters and what the tests ask of them."""

from typing import Any

from relay.admission.limiter import Limiter, RateView
from relay.admission.not_admitted import NotAdmitted
from relay.admission.token_buckets import Hold
from relay_contract.document import ApiKey, Limits, ModelLimit

MODEL = "gpt-4.1"
TOKENS_PER_MINUTE = 6000
REFILL = 100.0
BURST_SECONDS = 10.0
BURST = 1000.0


def limits(
    *,
    requests: int | None = None,
    tokens: int | None = None,
    models: tuple[ModelLimit, ...] = (),
    burst_seconds: float = BURST_SECONDS,
) -> Limits:
    return Limits(
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        burst_seconds=burst_seconds,
        models=models,
    )


def limiter(configured: Limits, *, share: float = 1.0) -> Limiter:
    return Limiter(configured, share=share, now=0.0)


def ask(
    limiter: Limiter,
    *,
    prompt: int = 0,
    output: int = 0,
    now: float = 0.0,
    model: str = MODEL,
    key: str = "k",
    least: int | None = None,
) -> Hold | NotAdmitted:
    return limiter.admit(
        key=key,
        model=model,
        input_tokens=prompt,
        output_tokens=output,
        least_tokens=least,
        now=now,
    )


def admitted(answer: Hold | NotAdmitted) -> Hold:
    assert isinstance(answer, Hold), answer
    return answer


def refused(answer: Hold | NotAdmitted) -> NotAdmitted:
    assert isinstance(answer, NotAdmitted), answer
    return answer


def left(limiter: Limiter, *, now: float, model: str = MODEL) -> RateView:
    return limiter.view(key="k", model=model, now=now)


def token_limiter(*, share: float = 1.0, burst_seconds: float = BURST_SECONDS) -> Limiter:
    """Makes a limiter of 1,000 tokens at once and 100 a second."""
    return limiter(limits(tokens=TOKENS_PER_MINUTE, burst_seconds=burst_seconds), share=share)


def keyed(configured: Limits, **rates: Any) -> Limiter:
    """Makes a limiter whose key k has limits of its own."""
    key = ApiKey(name="k", sha256="0" * 64, **rates)
    return Limiter(configured, share=1.0, now=0.0, keys=(key,))
