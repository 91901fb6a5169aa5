"""The dashboards, alerts and the page of metrics: they name what the operator and the relays export, and nothing else."""

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from tests.chart.exported import LEDGER, OPERATOR, RELAY, Exported, exported
from tests.chart.rendering import rendered
from tests.chart.test_alerts import RUNBOOKS, checked, promtool, rules
from tests.dashboards import generated
from tests.dashboards.rare import RARE, VARIABLES
from tests.dashboards.reading import Asked, asked
from tests.demo.view.figures import QUESTION

from relay.accounting.usage_event import Outcome

__all__ = ["promtool"]

ENABLED = "dashboards.enabled=true"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")
OF_PROMETHEUS = {"job", "instance", "namespace", "pod"}
"""Labels that a scrape adds, beside those of the metric."""
OF_CLIENT = {
    "up": set[str](),
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
}
"""What Prometheus and its client library make of every process."""


def configmap(*values: str) -> dict[str, Any] | None:
    found = [
        one
        for one in rendered(*values)
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "relay-operator-dashboards"
    ]
    assert len(found) <= 1
    return found[0] if found else None


def boards(*values: str) -> list[dict[str, Any]]:
    made = configmap(ENABLED, *values)
    assert made is not None
    return [json.loads(text) for text in made["data"].values()]


@functools.cache
def questions() -> tuple[Asked, ...]:
    return tuple(one for board in boards() for one in asked(board))


def queries() -> list[str]:
    return [one.expr for one in questions()]


def known_series() -> dict[str, frozenset[str]]:
    """Returns the labels of every series that may be named."""
    series = {name: one.selectable() for one in exported() for name in one.series()}
    return series | {name: frozenset(labels) for name, labels in OF_CLIENT.items()}


def mistakes(expression: str) -> Iterator[str]:
    """Goes through what an expression names that nobody exports."""
    series = known_series()
    selected = SELECTOR.findall(expression)
    if not selected:
        yield f"no selector: {expression}"
    available = set(OF_PROMETHEUS)
    for name, matchers in selected:
        if name not in series:
            yield f"nobody exports {name}"
            continue
        available |= series[name]
        used = set(re.findall(r"(\w+)\s*[=!]~?", re.sub(r'"[^"]*"', '""', matchers)))
        if unknown := used - series[name] - OF_PROMETHEUS:
            yield f"{name} has no label {unknown}"
    for group in GROUPING.findall(expression):
        if unknown := {one.strip() for one in group.split(",") if one.strip()} - available:
            yield f"nothing there has a label {unknown}: {expression}"
    bare = re.findall(r"\brelay_\w+", SELECTOR.sub("", re.sub(r'"[^"]*"', '""', expression)))
    for name in bare:
        yield f"{name} is not limited to a job"


def test_the_files_in_the_chart_are_what_the_generator_gives() -> None:
    wanted = generated.files()
    assert {path: path.read_text() for path in generated.FOLDER.iterdir()} == wanted, (
        "run make dashboards"
    )


def test_grafanas_sidecar_finds_the_dashboards_where_they_are_asked_for() -> None:
    assert configmap() is None
    made = configmap(ENABLED)
    assert made is not None
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["metadata"]["namespace"] == "relay-system"
    assert set(made["data"]) == {f"relay-{name}.json" for name in generated.BOARDS}
    assert sum(map(len, made["data"].values())) < 900_000
    moved = configmap(
        ENABLED,
        "dashboards.namespace=monitoring",
        "dashboards.labels.team=platform",
        "dashboards.annotations.grafana_folder=Relays",
    )
    assert moved is not None
    assert moved["metadata"]["namespace"] == "monitoring"
    assert moved["metadata"]["labels"]["team"] == "platform"
    assert moved["metadata"]["annotations"] == {"grafana_folder": "Relays"}


def test_every_query_parses(promtool: Path, tmp_path: Path) -> None:
    assert len(queries()) > 120
    rules_ = [
        {"record": f"q:{number}", "expr": one.filled(VARIABLES)}
        for number, one in enumerate(questions())
    ]
    groups = {"groups": [{"name": "dashboards", "rules": rules_}]}
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump(groups))
    done = checked(promtool, "check", "rules", "queries.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_a_good_day_has_no_series_of_is_shown_once_there_are_some(
    promtool: Path, tmp_path: Path
) -> None:
    by_name = {one.name: one for one in questions()}
    assert RARE.keys() <= by_name.keys(), RARE.keys() - by_name.keys()
    scenes = [
        {
            "interval": "1m",
            "input_series": [{"series": key, "values": values} for key, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": f"count({by_name[name].filled(VARIABLES)}) > bool 0",
                    "eval_time": "10m",
                    "exp_samples": [{"labels": "{}", "value": 1}],
                }
            ],
        }
        for name, series in RARE.items()
    ]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"tests": scenes}))
    done = checked(promtool, "test", "rules", "tests.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_names_what_is_exported_with_labels_that_it_has() -> None:
    found = [one for query in queries() for one in mistakes(query)]
    assert found == []


def queries_of_runbooks() -> list[tuple[str, str]]:
    return [
        (page.stem, query.strip())
        for page in sorted(RUNBOOKS.iterdir())
        for query in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL)
    ]


def test_the_question_of_the_demonstrations_view_parses_and_names_what_is_exported(
    promtool: Path, tmp_path: Path
) -> None:
    assert list(mistakes(QUESTION.replace('"figure"', '"side"'))) == []
    rule = {"record": "q:0", "expr": QUESTION}
    groups = {"groups": [{"name": "view", "rules": [rule]}]}
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump(groups))
    done = checked(promtool, "check", "rules", "queries.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_of_a_runbook_parses_and_names_what_is_exported(
    promtool: Path, tmp_path: Path
) -> None:
    found = queries_of_runbooks()
    assert len(found) > 30
    wrong = [(name, one) for name, query in found for one in mistakes(query)]
    assert wrong == []
    rules_ = [{"record": f"q:{number}", "expr": query} for number, (_, query) in enumerate(found)]
    groups = {"groups": [{"name": "runbooks", "rules": rules_}]}
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump(groups))
    done = checked(promtool, "check", "rules", "queries.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_migration_is_shown_with_all_that_decides_on_it() -> None:
    shown = " ".join(one.expr for one in questions() if one.board == "relay-migration")
    decided_by = {one.name for one in exported() if one.name.startswith("relay_operator_route_")}
    elsewhere = {
        "relay_operator_route_ready",
        "relay_operator_route_awaiting_approval",
        "relay_operator_route_step_overdue",
        "relay_operator_route_unmeasurable_since_timestamp_seconds",
    }
    everything = " ".join(queries())
    assert {name for name in decided_by - elsewhere if f"{name}{{" not in shown} == set()
    assert {name for name in elsewhere if f"{name}{{" not in everything} == set()


def test_every_metric_of_the_ledger_and_of_records_on_their_way_is_shown() -> None:
    """Or has an alert of its own: what nobody reads tells nobody."""
    wanted = {
        name
        for one in exported()
        if one.by == LEDGER or one.name.startswith("relay_outbox_")
        for name in one.series()
        if not name.endswith(("_count", "_sum"))
    }
    shown = " ".join(queries())
    assert len(wanted) > 30
    assert {name for name in wanted if f"{name}{{" not in shown} == set()


def test_every_link_leads_to_a_dashboard_and_to_variables_that_it_has() -> None:
    variables = {
        board["uid"]: {one["name"] for one in board["templating"]["list"]} for board in boards()
    }
    links = re.findall(r"/d/([\w-]+)\?([^\"]+)", json.dumps(boards()))
    assert len(links) > 3
    for uid, query in links:
        assert set(re.findall(r"var-(\w+)=", query)) <= variables[uid]


@pytest.mark.parametrize(
    ("query", "mistake"),
    [
        ('sum(relay_operator_nothing{job="x"})', "nobody exports relay_operator_nothing"),
        ('relay_operator_leader{tenant="x"}', "relay_operator_leader has no label {'tenant'}"),
        (
            'sum by (kind) (relay_operator_leader{job="x"})',
            "nothing there has a label {'kind'}: sum by (kind) (relay_operator_leader{job=\"x\"})",
        ),
        ("relay_in_flight", "relay_in_flight is not limited to a job"),
        ('rate(relay_requests_count{job="x"}[5m])', "nobody exports relay_requests_count"),
    ],
)
def test_a_query_that_would_show_nothing_is_found(query: str, mistake: str) -> None:
    assert mistake in list(mistakes(query))


def test_every_alert_names_what_is_exported_with_labels_that_it_has() -> None:
    found = [
        (name, one)
        for name, rule in rules().items()
        for one in mistakes(re.sub(r"label_replace\(|, \"namespace\", .*?\)\)?$", "", rule["expr"]))
    ]
    assert found == []


def test_outcomes_of_attempts_are_spelled_as_relays_spell_them() -> None:
    named = re.findall(r'outcome[!=]=?~?"(\w+)"', " ".join(queries()))
    assert "ok" in named
    assert {one for one in named if one != "done"} <= set(get_args(Outcome))


def test_jobs_and_labels_that_are_named_otherwise_are_read() -> None:
    found = boards(
        "prometheus.labels.job=service",
        "prometheus.labels.namespace=ns",
        "prometheus.job=counters",
        "alerts.jobs.operator=ops",
        "alerts.jobs.relays=gateways",
    )
    exprs = [one.expr for board in found for one in asked(board)]
    jobs = (
        'service="ops"',
        'service="gateways"',
        'service="counters"',
        'service="relay-ledger"',
    )
    assert all(any(job in one for job in jobs) for one in exprs), exprs
    assert all(any(job in one for one in exprs) for job in jobs)
    assert 'ns="$namespace"' in " ".join(exprs)
    text = json.dumps(found)
    assert not re.search(r"\{(OPERATOR|RELAYS|SLO|LEDGER)\b|NAMESPACE_LABEL", text)


@pytest.mark.parametrize("name", list(generated.BOARDS))
def test_panels_have_a_place_and_a_number_of_their_own(name: str) -> None:
    [board] = [one for one in boards() if one["uid"] == f"relay-{name}"]
    panels = board["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    titles = [one["title"] for one in panels if one["type"] != "row"]
    assert len(set(titles)) == len(titles)
    taken: set[tuple[int, int]] = set()
    for one in panels:
        place = one["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, one["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def line(one: Exported) -> str:
    """Returns the line of a metric on its page."""
    labels = ", ".join(f"`{label}`" for label in one.labels) or "none"
    return f"| `{one.name}` | {one.kind} | {labels} | {one.help} |"


def test_the_page_has_a_line_for_each_metric_and_for_nothing_else() -> None:
    lines = [one for one in PAGE.read_text().splitlines() if one.startswith("| `")]
    wanted = [line(one) for by in (OPERATOR, RELAY, LEDGER) for one in exported() if one.by == by]
    assert lines == wanted, "write docs/metrics.md anew:\n" + "\n".join(wanted)


def test_no_metric_of_the_operators_own_work_has_a_series_a_tenant() -> None:
    """What grows with the fleet is the state collector's, one series an object and state, and the page says so."""
    per_object = {"namespace", "tenant", "route", "key", "pod"}
    own = [one for one in exported() if one.by == OPERATOR and not per_object & set(one.labels)]
    assert {one.name for one in own} >= {
        "relay_operator_reconcile_duration_seconds",
        "relay_operator_queue_oldest_seconds",
        "relay_operator_api_requests_total",
        "relay_operator_watch_age_seconds",
        "relay_operator_leader",
        "relay_operator_leader_epoch",
        "relay_operator_loop_lag_seconds",
        "relay_operator_push_duration_seconds",
        "relay_operator_slo_tick_duration_seconds",
    }
    others = {one.name for one in exported() if one.by == OPERATOR} - {one.name for one in own}
    assert all(re.match(r"relay_operator_(tenant|route|api_key)_", name) for name in others), others
