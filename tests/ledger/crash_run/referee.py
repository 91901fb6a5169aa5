"""Compares what providers noted themselves with what is booked, attempt by attempt.

A provider notes a call once it has ended: what it answered, under which id, and what that is billed. The ledger has the same id from
the answer's head; an attempt whose relay died before, or whose caller left, is known by the name of its call.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

TOKEN_PRICES: Final = {"stable": (2_000_000, 8_000_000), "backup": (3_000_000, 12_000_000)}
"""Pico-USD that a provider takes for a token of input and of output; CHARGED is what the tenant pays."""
CHARGED: Final = (4_000_000, 16_000_000)
UNSENT: Final = frozenset({"", "none"})
"""An attempt may be unknown to its provider if its relay died before a byte had left, or if it knows that nothing was used."""
UNPROVEN: Final = frozenset({"unknown", "partial"})
"""So may one that was sent into a connection which its provider was closing: no answer came, and the relay cannot prove that nothing was
used (a reset is no proof). It may not say that the provider counted, nor that a caller got it."""


@dataclass(frozen=True, slots=True)
class Noted:
    """One call as its provider noted it."""

    provider: str
    name: str
    answer_id: str
    status: int
    outcome: str
    tokens: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Booked:
    """One attempt as the ledger has it. source and outcome are empty while it is only opened."""

    event_id: str
    provider: str
    name: str
    answer_id: str = ""
    status: int = 0
    outcome: str = ""
    source: str = ""
    delivered: bool = False
    tokens: tuple[int, int] = (0, 0)
    cost: int = 0
    charge: int = 0


@dataclass(slots=True)
class Verdict:
    """What was compared, and what is not as it should be."""

    noted: int = 0
    booked: int = 0
    closed: int = 0
    left_open: int = 0
    by_answer: int = 0
    never_sent: int = 0
    unproven: int = 0
    reported: int = 0
    cost: int = 0
    differences: list[str] = field(default_factory=list)


def noted_calls(provider: str, journal: Iterable[str]) -> list[Noted]:
    """Reads a provider's journal."""
    entries = map(json.loads, journal)
    return [
        Noted(
            provider,
            entry["requestId"],
            entry["answerId"],
            entry["status"],
            entry["outcome"],
            (entry["promptTokens"], entry["completionTokens"]),
        )
        for entry in entries
    ]


def booked_attempts(
    lines: Iterable[dict[str, Any]], money: Mapping[str, tuple[int, int]]
) -> list[Booked]:
    """Puts the records of each attempt together; money is what its postings say that it cost and was charged."""
    latest: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line["phase"] == "closed" or line["id"] not in latest:
            latest[line["id"]] = line
    return [_booked(line, money.get(event_id, (0, 0))) for event_id, line in latest.items()]


def _booked(line: dict[str, Any], money: tuple[int, int]) -> Booked:
    tokens = line.get("tokens", {})
    cost, charge = money
    return Booked(
        event_id=line["id"],
        provider=line["provider"],
        name=line.get("requestId", ""),
        answer_id=line.get("upstreamRequestId", ""),
        status=line.get("status", 0),
        outcome=line.get("outcome", ""),
        source=line.get("usageSource", ""),
        delivered=line.get("delivered", False),
        tokens=(
            tokens.get("input", 0) + tokens.get("cacheRead", 0),
            tokens.get("output", 0) + tokens.get("reasoning", 0),
        ),
        cost=cost,
        charge=charge,
    )


def compare(
    noted: Sequence[Noted], booked: Sequence[Booked], answered: Mapping[str, str]
) -> Verdict:
    """Judges; answered is what callers got, the provider's id of an answer by the name of its call."""
    verdict = Verdict(
        noted=len(noted),
        booked=len(booked),
        closed=sum(bool(one.outcome) for one in booked),
        left_open=sum(not one.outcome for one in booked),
        reported=sum(one.source == "provider" for one in booked),
        cost=sum(one.cost for one in booked),
    )
    rest = _compare_answers(noted, booked, verdict)
    _compare_names(*rest, verdict)
    for one in booked:
        verdict.differences += _wrong_money(one)
    verdict.differences += _wrongly_delivered(booked, answered)
    return verdict


def _compare_answers(
    noted: Sequence[Noted], booked: Sequence[Booked], verdict: Verdict
) -> tuple[list[Noted], list[Booked]]:
    """Compares attempts whose answer had begun; returns the others."""
    answers = {(one.provider, one.answer_id): one for one in noted}
    if len(answers) != len(noted):
        verdict.differences.append("a provider gave two answers one id")
    others: list[Booked] = []
    for one in booked:
        if not one.answer_id:
            others.append(one)
            continue
        seen = answers.pop((one.provider, one.answer_id), None)
        verdict.by_answer += 1
        verdict.differences += (
            [f"booked twice, or never given: {one}"] if seen is None else _wrong_answer(seen, one)
        )
    return list(answers.values()), others


def _wrong_answer(seen: Noted, one: Booked) -> list[str]:
    wrong = []
    if (seen.name, seen.status) != (one.name, one.status):
        wrong.append(f"booked as another call: {one}, noted {seen}")
    if one.source == "provider" and one.tokens != seen.tokens:
        wrong.append(f"other tokens: {one}, noted {seen}")
    if seen.status == 200 and one.source in UNSENT:
        wrong.append(f"answered and booked as nothing: {one}, noted {seen}")
    if one.outcome == "ok" and one.source != "provider":
        wrong.append(f"whole, and its usage is not the provider's: {one}, noted {seen}")
    return wrong


def _compare_names(noted: Sequence[Noted], booked: Sequence[Booked], verdict: Verdict) -> None:
    """Compares attempts without an answer's id: as many of a call as its provider has, and beyond those only what was never sent."""
    seen: dict[tuple[str, str], list[Noted]] = defaultdict(list)
    for one in noted:
        seen[one.provider, one.name].append(one)
    found: dict[tuple[str, str], list[Booked]] = defaultdict(list)
    for attempt in booked:
        found[attempt.provider, attempt.name].append(attempt)
    for key in seen.keys() | found.keys():
        calls, attempts = seen[key], found[key]
        if len(attempts) < len(calls):
            verdict.differences.append(f"noted and not booked: {calls}, booked {attempts}")
            continue
        beyond = len(attempts) - len(calls)
        unsent = min(beyond, sum(one.source in UNSENT for one in attempts))
        unproven = sum(one.source in UNPROVEN and not one.delivered for one in attempts)
        verdict.never_sent += unsent
        verdict.unproven += beyond - unsent
        if beyond - unsent > unproven:
            verdict.differences.append(f"booked and never noted: {attempts}, noted {calls}")
        served = [one for one in calls if one.status == 200]
        if len(served) > sum(one.source != "none" for one in attempts):
            verdict.differences.append(f"served and booked as nothing: {attempts}, noted {calls}")


def _wrong_money(one: Booked) -> list[str]:
    expected = _pico(one.tokens, TOKEN_PRICES[one.provider])
    charged = _pico(one.tokens, CHARGED) if one.delivered else 0
    if (one.cost, one.charge) == (expected, charged):
        return []
    return [f"{expected} and {charged} pico-USD expected: {one}"]


def _pico(tokens: tuple[int, int], prices: tuple[int, int]) -> int:
    return tokens[0] * prices[0] + tokens[1] * prices[1]


def _wrongly_delivered(booked: Sequence[Booked], answered: Mapping[str, str]) -> list[str]:
    """Compares with callers: who has a whole answer is billed for that one, by the provider's own count, and nobody for two."""
    delivered: dict[str, list[Booked]] = defaultdict(list)
    for one in booked:
        if one.delivered:
            delivered[one.name].append(one)
    wrong = [f"delivered twice: {ones}" for ones in delivered.values() if len(ones) > 1]
    for name, answer_id in answered.items():
        got = [(one.answer_id, one.source) for one in delivered[name]]
        if got != [(answer_id, "provider")]:
            wrong.append(f"call {name} got the answer {answer_id}, and is billed for {got}")
    return wrong
