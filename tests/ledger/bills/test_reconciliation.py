"""A provider's report beside what is booked: what is more than 1 % apart is flagged, with its cause, and nothing that is booked changes."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DatabaseError
from tests.ledger.bills.usage_report_api import (
    ADMIN_KEY,
    UsageReportApi,
    anthropic_page,
    openai_cost,
    openai_month,
    openai_page,
    openai_usage,
)
from tests.ledger.conftest import Books
from tests.ledger.serving.forked_ledger import ForkedLedger
from tests.ledger.shell import Shell
from tests.unit.relay_contract.billing.records import closed, opened

from relay_contract.billing.attempt_event import AttemptClosed
from relay_contract.billing.reconciliation_summary import Summary
from relay_contract.billing.token_buckets import TokenBuckets
from relay_ledger.commands.reconcile_command import FLAGGED
from relay_ledger.reconciliation.provider_report import (
    Page,
    ProviderReport,
    UnreadableReport,
    read_pages,
)
from relay_ledger.store.bills.cost_adjustments import CostAdjustments
from relay_ledger.store.bills.reconciliation_store import ReconciliationStore
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import COST_ADJUSTMENTS, RECONCILIATIONS

DAY_SECONDS = 86_400
FIRST = int(datetime(2026, 3, 10, tzinfo=UTC).timestamp())
HOUR = 3600 * 10**6
INPUT, CACHED, OUTPUT = 1_000_000, 100_000, 100_000
"""What the attempt that both sides agree on used: input without what was cached."""
Attempts = list[AttemptClosed]


def micros(seconds: int) -> int:
    return seconds * 10**6


def used(name: str, tokens: TokenBuckets, **changes: Any) -> AttemptClosed:
    at = changes.pop("dispatched_at", micros(FIRST) + HOUR)
    return closed(attempt_id=name, dispatched_at=at, tokens=tokens, **changes)


def agreed(**more: int) -> AttemptClosed:
    counts = {"input": INPUT, "cache_read": CACHED, "output": OUTPUT, **more}
    return used("agreed", TokenBuckets(**counts), upstream_request_id="req-1")


def reported(
    *,
    start: int = FIRST,
    fresh: int = INPUT,
    cached: int = CACHED,
    output: int = OUTPUT,
    **rest: Any,
) -> dict[str, Any]:
    counts = {
        "input_tokens": fresh + cached,
        "input_cached_tokens": cached,
        "output_tokens": output,
    }
    return openai_usage(start, **counts, **rest)


class Reconciler:
    """Books, runs the command on files, and reads its answer."""

    def __init__(self, books: Books, address: str, shell: Shell, directory: Path) -> None:
        self.books = books
        self._address = address
        self._shell = shell
        self._directory = directory

    def book(self, attempts: Attempts) -> None:
        self.books.ledger.book("uid-a", attempts, self.books.prices, now=1)

    def run(self, *pages: dict[str, Any], options: tuple[str, ...] = ()) -> tuple[int, Any]:
        files: list[str] = []
        for number, page in enumerate(pages):
            path = self._directory / f"page-{number}.json"
            path.write_text(json.dumps(page))
            files += ["--file", str(path)]
        command = ["reconcile", "openai", "--period", "2026-03", "--dialect", "openai"]
        code, out, said = self._shell.run(
            self._address, *command, "--format", "json", *files, *options
        )
        assert code in (0, FLAGGED), said
        return code, json.loads(out)

    def kept(self, provider: str = "openai") -> dict[str, Any]:
        """Returns what a ledger tells the operator of a provider."""
        return ReconciliationStore(self.books.engine).latest()[provider]


@pytest.fixture
def reconciler(books: Books, address: str, shell: Shell, tmp_path: Path) -> Reconciler:
    return Reconciler(books, address, shell, tmp_path)


def kind_of(found: Any, kind: str) -> Any:
    (one,) = [row for row in found["tokens"] if row["kind"] == kind]
    return one


def test_what_agrees_is_not_flagged(reconciler: Reconciler) -> None:
    reconciler.book([agreed()])
    # 1,000,000 at 2, 100,000 at 0.5 and at 8 USD per million
    code, found = reconciler.run(openai_page([reported()]), openai_page([openai_cost(FIRST, 2.85)]))
    assert (code, found["flagged"]) == (0, 0)
    assert {row["kind"]: row["difference"] for row in found["tokens"]} == {
        "input": 0,
        "cache_read": 0,
        "output": 0,
    }
    assert found["money_in_all"]["difference"] == "0.00"


Plant = Callable[[int], tuple[Attempts, dict[str, Any]]]


def more(name: str, **changes: Any) -> Plant:
    """Plants an attempt that is booked and not reported, of so many tokens of input."""

    def plant(tokens: int) -> tuple[Attempts, dict[str, Any]]:
        return [agreed(), used(name, TokenBuckets(input=tokens), **changes)], reported()

    return plant


def edge(tokens: int) -> tuple[Attempts, dict[str, Any]]:
    last = micros(FIRST + DAY_SECONDS) - 1
    one = used("edge", TokenBuckets(input=tokens), dispatched_at=last, closed_at=last + 1_000_000)
    return [agreed(), one], reported()


def foreign(tokens: int) -> tuple[Attempts, dict[str, Any]]:
    page = reported()
    page["results"] += reported(fresh=tokens, cached=0, output=0, api_key_id="key_elsewhere")[
        "results"
    ]
    return [agreed()], page


def lost(tokens: int) -> tuple[Attempts, dict[str, Any]]:
    unknown = closed(
        attempt_id="lost",
        dispatched_at=micros(FIRST) + HOUR,
        usage_source="unknown",
        tokens=None,
        delivered=False,
    )
    return [agreed(), unknown], reported(fresh=INPUT + tokens)


def unexplained(tokens: int) -> tuple[Attempts, dict[str, Any]]:
    return [agreed()], reported(fresh=INPUT - tokens)


PLANTS: dict[str, Plant] = {
    "duplicate": more("again", upstream_request_id="req-1"),
    "several_models": more("advised", usage_source="estimated", doubt="models"),
    "not_reported": more("partial", usage_source="partial", outcome="cancelled"),
    "retried": more("retried", delivered=False, outcome="failed", status=500),
    "stream_without_usage": more("stream", usage_source="estimated", stream=True),
    "bucket_edge": edge,
    "unknown_key": foreign,
    "unexplained": unexplained,
}


@pytest.mark.parametrize("cause", PLANTS)
def test_a_cause_is_flagged_above_one_percent_and_named(cause: str, reconciler: Reconciler) -> None:
    """Of 1,000,000 reported tokens 9,000 are not flagged, and 11,200 are, whichever side they are on."""
    attempts, page = PLANTS[cause](11_200)
    reconciler.book(attempts)
    before = reconciler.books.ledger.sums("uid-a", start=0, end=2**60)
    code, found = reconciler.run(openai_page([page]), options=("--own-key", "key_ours"))
    one = kind_of(found, "input")
    assert (code, one["flagged"]) == (FLAGGED, True)
    assert list(one["causes"]) == [cause]
    assert sum(one["causes"].values()) == one["difference"] == one["booked"] - one["reported"]
    assert reconciler.books.ledger.sums("uid-a", start=0, end=2**60) == before
    assert reconciler.books.ledger.differences(start=0, end=2**60) == []


@pytest.mark.parametrize("cause", PLANTS)
def test_a_cause_below_one_percent_is_named_and_not_flagged(
    cause: str, reconciler: Reconciler
) -> None:
    attempts, page = PLANTS[cause](9_000)
    reconciler.book(attempts)
    code, found = reconciler.run(openai_page([page]), options=("--own-key", "key_ours"))
    one = kind_of(found, "input")
    assert (code, one["flagged"], list(one["causes"])) == (0, False, [cause])


def test_attempts_of_unknown_use_explain_what_is_missing(reconciler: Reconciler) -> None:
    attempts, page = lost(11_200)
    reconciler.book(attempts)
    code, found = reconciler.run(openai_page([page]))
    assert (code, kind_of(found, "input")["causes"]) == (FLAGGED, {"not_reported": -11_200})


def test_conventions_show_in_the_amount(reconciler: Reconciler) -> None:
    """Cached tokens counted as input too, and reasoning left out."""
    reconciler.book([agreed(reasoning=30_000, output=OUTPUT - 30_000)])
    code, found = reconciler.run(
        openai_page([reported(fresh=INPUT + 2 * CACHED, output=OUTPUT - 30_000)])
    )
    assert code == FLAGGED
    assert kind_of(found, "input")["causes"] == {"cache_convention": -2 * CACHED}
    assert kind_of(found, "output")["causes"] == {"reasoning": 30_000}


@pytest.mark.parametrize(("usd", "flagged"), [(2.85, False), (2.825, False), (2.80, True)])
def test_money_that_differs_while_tokens_agree_is_a_matter_of_prices(
    usd: float, flagged: bool, reconciler: Reconciler
) -> None:
    reconciler.book([agreed()])
    code, found = reconciler.run(openai_page([reported()]), openai_page([openai_cost(FIRST, usd)]))
    assert (code == FLAGGED) == flagged
    assert set(found["money"][0]["causes"]) <= {"price"}
    assert found["money"][0]["flagged"] == found["money_in_all"]["flagged"] == flagged


def test_money_of_another_tier_is_told_apart(reconciler: Reconciler) -> None:
    reconciler.book([agreed()])
    page = reported(service_tier="flex")
    code, found = reconciler.run(openai_page([page]), openai_page([openai_cost(FIRST, 1.425)]))
    assert (code, found["money_in_all"]["causes"]) == (FLAGGED, {"tier": "1.425"})


def test_money_of_tokens_that_differ_has_their_causes(reconciler: Reconciler) -> None:
    attempts, page = PLANTS["duplicate"](100_000)
    reconciler.book(attempts)
    _, found = reconciler.run(openai_page([page]), openai_page([openai_cost(FIRST, 2.85)]))
    # 100,000 at 2 USD per million
    assert found["money_in_all"]["causes"] == {"duplicate": "0.20"}


def test_opposite_errors_are_flagged_by_bucket_though_the_month_agrees(
    reconciler: Reconciler,
) -> None:
    following = FIRST + DAY_SECONDS
    second = used("second", TokenBuckets(input=INPUT), dispatched_at=micros(following) + HOUR)
    reconciler.book([agreed(), second])
    pages = openai_page(
        [
            reported(fresh=INPUT + 50_000),
            reported(start=following, fresh=INPUT - 50_000, cached=0, output=0),
        ]
    )
    code, found = reconciler.run(pages)
    assert code == FLAGGED
    assert [row["flagged"] for row in found["tokens"] if row["kind"] == "input"] == [True, True]
    in_all = {one["name"]: one for one in found["tokens_in_all"]}
    assert (in_all["gpt-4.1 input"]["difference"], in_all["gpt-4.1 input"]["flagged"]) == (0, False)


def test_what_is_too_young_is_provisional(reconciler: Reconciler) -> None:
    reconciler.book([agreed()])
    code, found = reconciler.run(
        openai_page([reported(fresh=1)]), options=("--settle-hours", "9999999")
    )
    one = kind_of(found, "input")
    assert (code, one["provisional"], one["flagged"]) == (0, True, False)
    assert one["causes"] == {"provider_lag": INPUT - 1}


def test_what_is_reported_of_nothing_booked_is_flagged(reconciler: Reconciler) -> None:
    code, found = reconciler.run(openai_page([reported(fresh=1, cached=0, output=0)]))
    assert (code, kind_of(found, "input")["difference"]) == (FLAGGED, -1)


FOLLOWING = FIRST + DAY_SECONDS
"""A day on which something is booked, and the provider reports nothing."""


def booked_on_the_day_after() -> Attempts:
    return [agreed(), used("later", TokenBuckets(input=1000), dispatched_at=micros(FOLLOWING))]


def empty_days(page: list[dict[str, Any]], *reported: dict[str, Any]) -> dict[str, Any]:
    """Returns a page of all days of a month, of which these have rows."""
    by_day = {one["start_time"]: one for one in reported}
    return openai_page([{**one, **by_day.get(one["start_time"], {})} for one in page])


def test_a_day_of_which_the_provider_reports_nothing_is_compared_with_nothing(
    reconciler: Reconciler, address: str, shell: Shell
) -> None:
    reconciler.book(booked_on_the_day_after())
    month = [{**day, "results": []} for day in openai_month(FIRST, 1)]
    code, found = reconciler.run(
        empty_days(month, reported()),
        empty_days(month, openai_cost(FIRST, 2.85)),
        options=("--adjust",),
    )
    [later] = [row for row in found["tokens"] if row["start"] == "2026-03-11T00:00:00Z"]
    assert (code, later["booked"], later["reported"], later["flagged"]) == (FLAGGED, 1000, 0, True)
    money = {row["start"]: row["difference"] for row in found["money"]}
    assert money == {"2026-03-10T00:00:00Z": "0.00", "2026-03-11T00:00:00Z": "0.002"}
    assert reconciler.kept()["flagged"]
    [booked] = CostAdjustments(reconciler.books.engine).between(0, 2**62)
    assert booked.amount_pico == -2_000_000_000


def test_what_no_page_covers_is_flagged_and_named(reconciler: Reconciler) -> None:
    reconciler.book(booked_on_the_day_after())
    code, found = reconciler.run(openai_page([reported()]), openai_page([openai_cost(FIRST, 2.85)]))
    assert code == FLAGGED
    [later] = [row for row in found["tokens"] if row["start"] == "2026-03-11T00:00:00Z"]
    assert (later["flagged"], later["causes"]) == (True, {"no_page": 1000})
    assert found["money_in_all"]["causes"] == {"no_page": "0.002"}
    # while the provider may still report it, nobody has to look
    code, found = reconciler.run(openai_page([reported()]), options=("--settle-hours", "9999999"))
    assert (code, found["flagged"]) == (0, 0)


@pytest.mark.parametrize(
    ("pages", "says"),
    [
        ([openai_page([reported()], more="1")], "the report of usage goes on after 2026-03-11"),
        (
            [openai_page([reported()]), openai_page([openai_cost(FIRST, 2.85)], more="1")],
            "the report of costs goes on after 2026-03-11",
        ),
        ([openai_page([])], "these reports have nothing of 2026-03-01"),
        (
            [openai_page([reported(start=FIRST + 31 * DAY_SECONDS)])],
            "these reports have nothing of 2026-03-01",
        ),
        ([], "there is no report to compare with"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_not_kept(
    books: Books,
    address: str,
    shell: Shell,
    tmp_path: Path,
    pages: list[dict[str, Any]],
    says: str,
) -> None:
    books.ledger.book("uid-a", [agreed()], books.prices, now=1)
    command = ["reconcile", "openai", "--period", "2026-03", "--dialect", "openai"]
    for number, page in enumerate(pages):
        path = tmp_path / f"page-{number}.json"
        path.write_text(json.dumps(page))
        command += ["--file", str(path)]
    code, _, said = shell.run(address, *command)
    assert (code, says in said) == (1, True), said
    assert ReconciliationStore(books.engine).latest() == {}


def test_costs_alone_are_compared_without_tokens(reconciler: Reconciler) -> None:
    reconciler.book([agreed()])
    code, found = reconciler.run(openai_page([openai_cost(FIRST, 2.85)]))
    assert (code, found["tokens"], found["money_in_all"]["difference"]) == (0, [], "0.00")


def test_pages_that_were_cut_off_are_whole_with_those_that_follow_in_any_order(
    reconciler: Reconciler,
) -> None:
    reconciler.book(booked_on_the_day_after())
    last = openai_page([reported(start=FOLLOWING, fresh=1000, cached=0, output=0)])
    code, found = reconciler.run(last, openai_page([reported()], more="1"))
    assert (code, found["flagged"]) == (0, 0)


@pytest.fixture
def api() -> Iterator[Callable[[dict[str, list[dict[str, Any]]]], UsageReportApi]]:
    started: list[UsageReportApi] = []

    def start(pages: dict[str, list[dict[str, Any]]]) -> UsageReportApi:
        started.append(UsageReportApi(pages))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_openais_api_is_read_page_after_page(
    reconciler: Reconciler, api: Any, tmp_path: Path
) -> None:
    reconciler.book([agreed()])
    served = api(
        {
            "/v1/organization/usage/completions": [
                openai_page([reported(fresh=INPUT - 1)], more="1"),
                openai_page([reported(fresh=1, cached=0, output=0)]),
            ],
            "/v1/organization/costs": [openai_page([openai_cost(FIRST, 2.85)])],
        }
    )
    key = tmp_path / "admin-key"
    key.write_text(ADMIN_KEY + "\n")
    options = ("--api-key-file", str(key), "--api-base", served.base)
    code, found = reconciler.run(options=options)
    assert (code, found["flagged"], found["money_in_all"]["difference"]) == (0, 0, "0.00")
    assert [path for path, _ in served.asked] == [
        "/v1/organization/usage/completions",
        "/v1/organization/usage/completions",
        "/v1/organization/costs",
    ]
    assert served.asked[0][1]["start_time"] == [
        str(int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()))
    ]
    assert served.asked[1][1]["page"] == ["1"]


def test_a_provider_is_compared_with_its_own_project_and_traffic_off_the_relay_is_a_foreign_key(
    reconciler: Reconciler, api: Any, tmp_path: Path
) -> None:
    """Two Providers of one organization, each with a project and a key of its own; somebody uses another key of the first one's."""
    reconciler.book([agreed()])
    ours, others, foreign = (
        reported(**changes)["results"][0]
        for changes in (
            {"project_id": "proj_ours"},
            {"project_id": "proj_others", "api_key_id": "key_others"},
            {
                "project_id": "proj_ours",
                "api_key_id": "key_of_somebody",
                "fresh": 11_200,
                "cached": 0,
                "output": 0,
            },
        )
    )
    day = {**reported(), "results": [ours, others, foreign]}
    costs = [openai_cost(FIRST, usd)["results"][0] for usd in (2.8724, 2.85)]
    paid = [
        cost | {"project_id": project}
        for cost, project in zip(costs, ("proj_ours", "proj_others"), strict=True)
    ]
    served = api(
        {
            "/v1/organization/usage/completions": [openai_page([day])],
            "/v1/organization/costs": [openai_page([{**openai_cost(FIRST, 0), "results": paid}])],
        }
    )
    key = tmp_path / "admin-key"
    key.write_text(ADMIN_KEY)
    fetched = ("--api-key-file", str(key), "--api-base", served.base, "--own-key", "key_ours")
    code, found = reconciler.run(options=(*fetched, "--project", "proj_ours"))
    assert (code, kind_of(found, "input")["causes"]) == (FLAGGED, {"unknown_key": -11_200})
    assert kind_of(found, "output")["difference"] == 0
    assert found["money_in_all"]["causes"] == {"unknown_key": "-0.0224"}
    assert all("project_id" in query["group_by[]"] for _, query in served.asked)
    # as a whole the other Provider's key is as foreign as somebody's
    _, found = reconciler.run(options=fetched)
    assert kind_of(found, "output")["causes"] == {"unknown_key": -OUTPUT}
    assert "project_id" not in served.asked[-1][1]["group_by[]"]


def test_a_report_that_does_not_tell_projects_is_not_compared_with_one(
    reconciler: Reconciler, address: str, shell: Shell, tmp_path: Path
) -> None:
    reconciler.book([agreed()])
    options = ("--project", "proj_ours")
    _, found = reconciler.run(openai_page([reported(project_id="proj_others")]), options=options)
    assert kind_of(found, "input")["reported"] == 0
    page = tmp_path / "page.json"
    page.write_text(json.dumps(openai_page([reported(project_id=None)])))
    command = ("reconcile", "openai", "--period", "2026-03", "--dialect", "openai")
    code, out, said = shell.run(address, *command, "--file", str(page), *options)
    assert (code, out, "do not tell projects or workspaces apart" in said) == (1, "", True)


def test_anthropics_default_workspace_is_one_of_its_own() -> None:
    def rows(*workspaces: str | None) -> ProviderReport:
        result = {"uncached_input_tokens": 1, "output_tokens": 1, "model": "claude"}
        told = [{**result, "workspace_id": one} for one in workspaces]
        page = json.dumps(anthropic_page("2026-03-01", "2026-03-02", *told))
        return read_pages([Page(page)], "anthropic")

    both = rows("wrkspc_1", None)
    assert [len(both.of_projects([one]).uses) for one in ("wrkspc_1", "default", "no")] == [1, 1, 0]
    assert len(rows(None).of_projects(["default"]).uses) == 1
    with pytest.raises(UnreadableReport, match="grouped by project_id or workspace_id"):
        rows(None).of_projects(["wrkspc_1"])


def test_anthropics_api_is_read_in_cents(
    books: Books, address: str, shell: Shell, api: Any, tmp_path: Path
) -> None:
    tokens = TokenBuckets(input=1000, cache_read=10, cache_write=20, cache_write_hour=30, output=40)
    books.ledger.book("uid-a", [used("one", tokens, provider="claude")], books.prices, now=1)
    usage = {
        "uncached_input_tokens": 1000,
        "cache_read_input_tokens": 10,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
        "output_tokens": 40,
        "model": "gpt-4.1",
        "api_key_id": "apikey_1",
        "service_tier": "standard",
    }
    cost = {"currency": "USD", "amount": "123.78912", "description": "Claude usage"}
    served = api(
        {
            "/v1/organizations/usage_report/messages": [
                anthropic_page("2026-03-10", "2026-03-11", usage)
            ],
            "/v1/organizations/cost_report": [anthropic_page("2026-03-10", "2026-03-11", cost)],
        }
    )
    key = tmp_path / "admin-key"
    key.write_text(ADMIN_KEY)
    command = ["reconcile", "claude", "--period", "2026-03", "--dialect", "anthropic"]
    code, out, _ = shell.run(
        address, *command, "--api-key-file", str(key), "--api-base", served.base
    )
    # the ledger has no price of it, which is not 0: the money is apart
    assert code == FLAGGED
    assert "gpt-4.1 cache_write: booked 50, reported 50, ok: 0" in out
    assert "USD: booked 0.00, reported 1.2378912, FLAGGED: -1.2378912" in out
    assert ADMIN_KEY not in out


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "page 1"),
        ("[]", "page 1"),
        ('{"data": [{"results": []}]}', "page 1"),
        (json.dumps(openai_page([openai_usage(FIRST, input_tokens=-1)])), "no count"),
        (json.dumps(openai_page([openai_usage(FIRST, input_tokens=1.5)])), "no count"),
        (json.dumps(openai_page([openai_cost(FIRST, "nan")])), "no number"),
        (json.dumps(openai_page([openai_cost(FIRST, "1e300")])), "no amount"),
    ],
)
def test_what_is_no_report_is_told(
    text: str, word: str, address: str, shell: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    command = ["reconcile", "openai", "--period", "2026-03", "--dialect", "openai"]
    code, _, said = shell.run(address, *command, "--file", str(path))
    assert (code, "Traceback" in said) == (1, False)
    assert word in said


def test_a_key_that_the_provider_refuses_is_told_and_not_shown(
    address: str, shell: Shell, api: Any, tmp_path: Path
) -> None:
    key = tmp_path / "admin-key"
    key.write_text("sk-of-somebody-else")
    command = ["reconcile", "openai", "--period", "2026-03", "--dialect", "openai"]
    code, _, said = shell.run(
        address, *command, "--api-key-file", str(key), "--api-base", api({}).base
    )
    assert (code, "answered 401" in said, "somebody" in said) == (1, True, False)


def test_what_was_found_is_kept_and_the_newest_run_of_the_last_month_is_told(
    reconciler: Reconciler,
) -> None:
    reconciler.book([agreed()])
    pages = openai_page([reported()]), openai_page([openai_cost(FIRST, 2.85)])
    reconciler.run(*pages)
    agrees = reconciler.kept()
    assert (agrees["compared"], agrees["flagged"], agrees["provisional"]) == (4, 0, 0)
    assert (agrees["unit"], agrees["booked"], agrees["reported"]) == ("USD", "2.85", "2.85")
    assert (agrees["difference"], agrees["percent"], agrees["causes"]) == ("0.00", "0.00", [])
    assert agrees["start"] == micros(int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()))
    # the same month once more, with another invoice
    reconciler.run(openai_page([reported()]), openai_page([openai_cost(FIRST, 3.0)]))
    differs = reconciler.kept()
    assert differs["madeAt"] > agrees["madeAt"]
    assert (differs["flagged"], differs["names"], differs["causes"]) == (2, ["USD"], ["price"])
    assert (differs["difference"], differs["percent"]) == ("-0.15", "5.00")
    # an older month that is compared later is not what counts
    older = Summary(1, 1, 0, "tokens", "1", "2", "-1", "50.00")
    ReconciliationStore(reconciler.books.engine).keep(
        "openai", older, "{}", start=0, end=1, now=2**60
    )
    assert reconciler.kept() == differs


def test_what_an_invoice_differs_by_is_booked_when_asked_as_a_cost_of_the_provider_alone(
    reconciler: Reconciler, address: str, shell: Shell
) -> None:
    reconciler.book([agreed()])
    ledger = reconciler.books.ledger
    before = ledger.sums("uid-a", start=0, end=2**60)
    dear = openai_page([reported()]), openai_page(openai_month(FIRST, 3.0))

    def adjustments() -> list[dict[str, str]]:
        command = ("report", "--month", "2026-03", "--format", "json")
        found: list[dict[str, str]] = json.loads(shell.run(address, *command)[1])[
            "cost_adjustments"
        ]
        return found

    reconciler.run(*dear)
    assert adjustments() == []
    for _ in range(2):
        # the second time there is nothing left to book
        reconciler.run(*dear, options=("--adjust",))
        [one] = adjustments()
        assert (one["provider"], one["cost_usd"]) == ("openai", "0.15")
    assert (one["start"], one["end"]) == ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
    # an invoice that is put right later takes it back
    reconciler.run(
        openai_page([reported()]), openai_page(openai_month(FIRST, 2.8)), options=("--adjust",)
    )
    assert [one["cost_usd"] for one in adjustments()] == ["-0.05"]
    with reading(reconciler.books.engine) as connection:
        rows = connection.execute(select(COST_ADJUSTMENTS.c.amount_pico)).scalars().all()
    assert sorted(rows) == [-200_000_000_000, 150_000_000_000]
    # neither usage nor anybody's charge
    assert ledger.sums("uid-a", start=0, end=2**60) == before
    of_tenant = ("report", "--month", "2026-03", "--format", "json", "--tenant", "uid-a")
    assert json.loads(shell.run(address, *of_tenant)[1])["cost_adjustments"] == []
    with pytest.raises(DatabaseError), reconciler.books.engine.begin() as connection:
        connection.execute(COST_ADJUSTMENTS.update().values(amount_pico=0))


BILLED = 100_000
"""Tokens of output that the invoice has of a stream that broke off, 0.8 USD."""


def adjusted_by(reconciler: Reconciler) -> list[int]:
    """Compares the month with an invoice that has the broken stream, adjusts, and returns what the month is adjusted by, in pico-USD."""
    usage = openai_page([reported(output=OUTPUT + BILLED)])
    reconciler.run(usage, openai_page(openai_month(FIRST, 2.85 + 0.8)), options=("--adjust",))
    return [one.amount_pico for one in CostAdjustments(reconciler.books.engine).between(0, 2**62)]


@pytest.mark.parametrize("source", ["partial", "estimated"])
@pytest.mark.parametrize("estimated", [4 * BILLED, BILLED // 2])
def test_an_estimate_is_taken_back_once_when_the_invoice_tells_what_was_used(
    reconciler: Reconciler, estimated: int, source: str
) -> None:
    tokens = TokenBuckets(output=estimated)
    reconciler.book([agreed(), used("broken", tokens, usage_source=source, stream=True)])
    for _ in range(3):
        # 8 USD per million
        assert adjusted_by(reconciler) == [(BILLED - estimated) * 8_000_000]
    with reading(reconciler.books.engine) as connection:
        assert len(connection.execute(select(COST_ADJUSTMENTS.c.amount_pico)).all()) == 1


def test_a_count_that_is_heard_of_after_the_invoice_takes_its_place_in_the_adjustment(
    reconciler: Reconciler,
) -> None:
    """A relay was killed with the stream under way, and its records are delivered weeks later."""
    at = micros(FIRST) + HOUR
    began = opened(attempt_id="late", dispatched_at=at)
    ledger, prices = reconciler.books.ledger, reconciler.books.prices
    reconciler.book([agreed()])
    ledger.book("uid-a", [began], prices, now=1)
    assert ledger.sweep(sent_before=at + 1, now=at + 1) == 1
    assert adjusted_by(reconciler) == [BILLED * 8_000_000]
    reconciler.book([used("late", TokenBuckets(output=BILLED), stream=True)])
    for _ in range(2):
        assert adjusted_by(reconciler) == [0]


@pytest.mark.parametrize(
    ("costs", "options", "says"),
    [
        ((), (), "there is no money in these reports"),
        (openai_month(FIRST, 3.0), ("--settle-hours", "1000000"), "too young to count"),
        (openai_month(FIRST, 3.0)[9:], (), "costs of 2026-03-01T00:00:00Z are missing"),
        (openai_month(FIRST, 3.0)[:20], (), "costs of 2026-03-21T00:00:00Z are missing"),
        (
            [*openai_month(FIRST, 3.0)[:12], *openai_month(FIRST, 3.0)[13:]],
            (),
            "costs of 2026-03-13T00:00:00Z are missing",
        ),
        (
            openai_month(FIRST, 3.0, days=32),
            (),
            "the costs of 2026-04-01T00:00:00Z are not of 2026-03",
        ),
    ],
)
def test_what_is_not_settled_is_not_booked(
    reconciler: Reconciler,
    address: str,
    shell: Shell,
    tmp_path: Path,
    costs: Sequence[dict[str, Any]],
    options: tuple[str, ...],
    says: str,
) -> None:
    reconciler.book([agreed()])
    page = tmp_path / "page.json"
    page.write_text(json.dumps(openai_page([reported()])))
    files = ["--file", str(page)]
    if costs:
        money = tmp_path / "cost.json"
        money.write_text(json.dumps(openai_page(costs)))
        files += ["--file", str(money)]
    command = ("reconcile", "openai", "--period", "2026-03", "--dialect", "openai", "--adjust")
    code, _, said = shell.run(address, *command, *files, *options)
    assert (code, says in said) == (1, True), said
    assert CostAdjustments(reconciler.books.engine).between(0, 2**62) == []


def test_tokens_are_summed_up_where_the_reports_have_no_money(reconciler: Reconciler) -> None:
    reconciler.book([agreed()])
    reconciler.run(openai_page([reported()]))
    kept = reconciler.kept()
    assert (kept["unit"], kept["booked"], kept["difference"]) == ("tokens", "1200000", "0")


def test_what_was_found_never_changes(books: Books) -> None:
    keep(books, "openai", (0, 1), made_at=1)
    with pytest.raises(DatabaseError), books.engine.begin() as connection:
        connection.execute(RECONCILIATIONS.update().values(summary="{}"))


def test_what_a_later_look_has_superseded_goes_and_the_newest_of_each_month_stays(
    books: Books,
) -> None:
    """What `Reconciled` tells, what is due, and the evidence for a statement are the newest of each month."""
    store = ReconciliationStore(books.engine)
    for provider in ("openai", "anthropic"):
        for made_at in (10, 20, 30):
            for period in ((0, 5), (5, 9), (9, 40)):
                keep(books, provider, period, made_at=made_at + (provider == "openai"))
    told, made = store.latest(), store.made("openai")
    assert store.drop_superseded(9) == 2 * 2 * 2
    assert store.drop_superseded(9) == 0
    assert (store.latest(), store.made("openai")) == (told, made)
    with reading(books.engine) as connection:
        rows = connection.execute(
            select(RECONCILIATIONS.c.starts_at, RECONCILIATIONS.c.made_at)
            .where(RECONCILIATIONS.c.provider == "openai")
            .order_by(RECONCILIATIONS.c.starts_at, RECONCILIATIONS.c.made_at)
        ).all()
    # the last month may still change
    assert [tuple(row) for row in rows] == [(0, 31), (5, 31), (9, 11), (9, 21), (9, 31)]


def keep(books: Books, provider: str, period: tuple[int, int], *, made_at: int) -> None:
    found = Summary(0, 0, 0, "USD", "0.00", "0.00", "0.00", "")
    start, end = period
    ReconciliationStore(books.engine).keep(provider, found, "{}", start=start, end=end, now=made_at)


def test_the_ledger_lets_go_of_what_is_superseded(
    books: Books, address: str, tmp_path: Path
) -> None:
    for made_at in (1, 2):
        keep(books, "openai", (0, 1), made_at=made_at)
    process = ForkedLedger(address, tmp_path)
    try:
        process.start()
        assert process.logged("dropped")["superseded_reconciliations"] == 1
    finally:
        process.end()
    assert ReconciliationStore(books.engine).made("openai") == {0: 2}
