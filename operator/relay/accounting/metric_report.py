"""Counts on their way from the workers to the page: merged by the supervisor and rendered as Prometheus text."""

from collections.abc import Iterable, Mapping
from typing import Any

from relay.accounting.metric_catalogue import BY_NAME, FAMILIES, Labels, MetricFamily, Page

Report = dict[str, list[tuple[Labels, Any]]]
"""Per family its series: label values and a number, or a histogram's row."""


def received(data: Any) -> Report:
    """Restores a report as it left its worker: on the way tuples became lists."""
    return {
        name: [(tuple(labels), value) for labels, value in series] for name, series in data.items()
    }


def merge(reports: Iterable[Report]) -> dict[str, dict[Labels, Any]]:
    """Merges the reports of several workers: counters, histograms and most gauges add up."""
    merged: dict[str, dict[Labels, Any]] = {}
    for report in reports:
        for name, series in report.items():
            family = BY_NAME[name]
            target = merged.setdefault(name, {})
            for labels, value in series:
                former = target.get(labels)
                target[labels] = value if former is None else _sum(family, former, value)
    return merged


def _sum(family: MetricFamily, left: Any, right: Any) -> Any:
    if family.kind == "histogram":
        return [a + b for a, b in zip(left, right, strict=True)]
    return max(left, right) if family.merge == "max" else left + right


def without_gauges(report: Report) -> Report:
    """Returns what stays true of a worker that has ended: its counters, and what happened when."""
    return {
        name: series
        for name, series in report.items()
        if BY_NAME[name].kind != "gauge" or BY_NAME[name].outlives_worker
    }


def render(merged: Mapping[str, Mapping[Labels, Any]], page: Page) -> str:
    """Renders the page's families in the Prometheus text format, version 0.0.4."""
    lines: list[str] = []
    for family in FAMILIES:
        if family.page != page:
            continue
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in sorted(merged.get(family.name, {}).items()):
            if family.kind == "histogram":
                _render_histogram(lines, family, labels, value)
            else:
                lines.append(f"{family.name}{_label_text(family.labels, labels)} {value}")
    return "\n".join(lines) + "\n"


def render_gauge(name: str, help_text: str, value: float) -> str:
    """Renders a gauge that belongs to the process, not to its workers."""
    return f"# HELP {name} {help_text}\n# TYPE {name} gauge\n{name} {value}\n"


def _render_histogram(
    lines: list[str], family: MetricFamily, labels: Labels, row: list[float]
) -> None:
    total = 0.0
    names = (*family.labels, "le")
    for bound, count in zip((*family.buckets, "+Inf"), row[:-1], strict=True):
        total += count
        lines.append(f"{family.name}_bucket{_label_text(names, (*labels, str(bound)))} {total:g}")
    text = _label_text(family.labels, labels)
    lines.append(f"{family.name}_sum{text} {row[-1]}")
    lines.append(f"{family.name}_count{text} {total:g}")


def _label_text(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
