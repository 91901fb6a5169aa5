"""The dashboard, alerts and the page of metrics: they name what the operator and the relays export, and nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from tests.chart.exported import OPERATOR, RELAY, Exported, exported
from tests.chart.test_alerts import checked, promtool, rules
from tests.chart.test_chart import rendered

from relay.accounting.usage_event import Outcome

__all__ = ["promtool"]

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
        if one["kind"] == "ConfigMap" and "relay-operator.json" in one["data"]
    ]
    assert len(found) <= 1
    return found[0] if found else None


def dashboard(*values: str) -> dict[str, Any]:
    made = configmap(*values)
    assert made is not None
    board: dict[str, Any] = json.loads(made["data"]["relay-operator.json"])
    return board


def queries(board: dict[str, Any]) -> list[str]:
    return [one["expr"] for panel in board["panels"] for one in panel.get("targets", ())]


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


def test_grafanas_sidecar_finds_the_dashboard() -> None:
    made = configmap()
    assert made is not None
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["metadata"]["namespace"] == "relay-system"
    moved = configmap(
        "dashboards.namespace=monitoring",
        "dashboards.labels.team=platform",
        "dashboards.annotations.grafana_folder=Relays",
    )
    assert moved is not None
    assert moved["metadata"]["namespace"] == "monitoring"
    assert moved["metadata"]["labels"]["team"] == "platform"
    assert moved["metadata"]["annotations"] == {"grafana_folder": "Relays"}
    assert configmap("dashboards.enabled=false") is None


def test_every_query_parses(promtool: Path, tmp_path: Path) -> None:
    found = queries(dashboard())
    assert len(found) > 35
    groups = {
        "groups": [
            {
                "name": "dashboard",
                "rules": [
                    {"record": f"q:{number}", "expr": one.replace("$__rate_interval", "5m")}
                    for number, one in enumerate(found)
                ],
            }
        ]
    }
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump(groups))
    done = checked(promtool, "check", "rules", "queries.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_names_what_is_exported_with_labels_that_it_has() -> None:
    found = [one for query in queries(dashboard()) for one in mistakes(query)]
    assert found == []


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
    named = re.findall(r'outcome[!=]=?~?"(\w+)"', " ".join(queries(dashboard())))
    assert "ok" in named
    assert {one for one in named if one != "done"} <= set(get_args(Outcome))


def test_jobs_that_are_named_otherwise_are_read() -> None:
    board = dashboard(
        "prometheus.labels.job=service", "alerts.jobs.operator=ops", "alerts.jobs.relays=gateways"
    )
    assert all('service="ops"' in one or 'service="gateways"' in one for one in queries(board)), (
        queries(board)
    )
    assert not any("{OPERATOR" in one or "{RELAYS" in one for one in queries(board))


def test_panels_have_a_place_and_a_number_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
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
    wanted = [line(one) for by in (OPERATOR, RELAY) for one in exported() if one.by == by]
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
