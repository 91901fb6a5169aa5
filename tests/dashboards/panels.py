"""Panels and boards in Grafana's types, with what all of ours have in common.

Expressions name the scrape jobs as {OPERATOR}, {RELAYS}, {SLO} and {LEDGER}, and the label that Prometheus gives a pod's namespace as
NAMESPACE_LABEL; the chart fills in the names that its values have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import bargauge, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import prometheus as prometheus_builders
from grafana_foundation_sdk.models import common, dashboard, prometheus
from grafana_foundation_sdk.models.dashboard import Dashboard, DataSourceRef, Panel

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
RATE: Final = "[$__rate_interval]"
TAG: Final = "relay-operator"
ROW_HEIGHT: Final = 8
GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"
PHASE_COLOURS: Final = {
    "Stable": "text",
    "Preflight": "purple",
    "Shadowing": "purple",
    "Progressing": BLUE,
    "Holding": BLUE,
    "Paused": YELLOW,
    "Frozen": "orange",
    "Baking": "light-blue",
    "Promoted": GREEN,
    "RolledBack": RED,
}
VERDICT_COLOURS: Final = {
    "Healthy": GREEN,
    "Breached": RED,
    "Inconclusive": YELLOW,
    "Unmeasurable": "orange",
}
SIDE_COLOURS: Final = {"stable": BLUE, "canary": "orange"}


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and the words of its legend. is_limit draws a dashed red line."""

    expr: str
    legend: str
    is_limit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A heading and the panels below it."""

    title: str
    panels: Sequence[Panel]


def graph(
    title: str,
    *queries: Query,
    unit: str = "none",
    width: int = 8,
    about: str = "",
    top: float | None = None,
    stacked: bool = False,
) -> Panel:
    """Returns lines over time, with limits as dashed lines and the sides of a route in their colours."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(ROW_HEIGHT)
        .line_width(1)
        .fill_opacity(25 if stacked else 5)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    )
    if stacked:
        panel = panel.stacking(
            common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
        )
    if top is not None:
        panel = panel.max(top)
    for side, colour in SIDE_COLOURS.items():
        panel = panel.override_by_regexp(f"^{side}\\b.*", [_fixed(colour)])
    for number, query in enumerate(queries):
        panel = panel.with_target(_target(query, number))
        if query.is_limit:
            panel = panel.override_by_query(_reference(number), _dashed())
    return panel.build()


def number(
    title: str,
    *queries: Query,
    unit: str = "none",
    width: int = 4,
    about: str = "",
    steps: Sequence[tuple[float, str]] = (),
    words: dict[str, tuple[str, str]] | None = None,
    by_name: dict[str, str] | None = None,
) -> Panel:
    """Returns the newest value, large. steps give it a colour from a value on, words stand for values with their colour.

    by_name shows the legend instead of the value, in the colour that its text has.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(4)
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("none")
    )
    if steps:
        panel = panel.thresholds(_thresholds(steps))
    if words:
        panel = panel.mappings([_words(words)])
    if by_name is not None:
        panel = panel.text_mode(common.BigValueTextMode.NAME)
        for name, colour in by_name.items():
            panel = panel.override_by_regexp(f"^{name}\\b.*", [_fixed(colour)])
    for at, query in enumerate(queries):
        panel = panel.with_target(_target(query, at, instant=True))
    return panel.build()


def timeline(
    title: str, query: Query, *, colours: dict[str, str], width: int = 12, about: str = ""
) -> Panel:
    """Returns a bar for each state over the time in which its series is 1."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(width)
        .height(ROW_HEIGHT)
        .show_value(common.VisibilityMode.NEVER)
        .merge_values(True)
        .legend(common_builders.VizLegendOptions().show_legend(False))
        .with_target(_target(query, 0))
    )
    for name, colour in colours.items():
        panel = panel.override_by_regexp(f"^{name}\\b.*", [_fixed(colour)])
    return panel.build()


def listing(
    title: str,
    query: Query,
    *,
    unit: str = "none",
    width: int = 12,
    about: str = "",
    link: tuple[str, str] | None = None,
) -> Panel:
    """Returns a table of what a query finds now: a column a label, and Value, which the legend names.

    link is the title and the address of what a row leads to.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(width)
        .height(ROW_HEIGHT)
        .no_value("none")
        .with_target(_dataquery(query, 0).instant().format(prometheus.PromQueryFormat.TABLE))
        .with_transformation(
            dashboard.DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": {"Time": True}, "renameByName": {"Value": query.legend}},
            )
        )
        .override_by_name(query.legend, [dashboard.DynamicConfigValue("unit", unit)])
    )
    if link is not None:
        to = dashboard_builders.DashboardLink(link[0]).url(link[1]).build()
        panel = panel.override_by_regexp(
            "^(namespace|route|tenant)$",
            [dashboard.DynamicConfigValue("links", [{"title": to.title, "url": to.url}])],
        )
    return panel.build()


def bars(
    title: str,
    *queries: Query,
    unit: str = "percentunit",
    width: int = 12,
    about: str = "",
    top: float = 1,
    steps: Sequence[tuple[float, str]] = (),
) -> Panel:
    """Returns the newest values as bars against a full length."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .max(top)
        .span(width)
        .height(ROW_HEIGHT)
        .orientation(common.VizOrientation.HORIZONTAL)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps))
        .no_value("none")
    )
    for at, query in enumerate(queries):
        panel = panel.with_target(_target(query, at, instant=True))
    return panel.build()


def board(
    *,
    uid: str,
    title: str,
    about: str,
    rows: Sequence[Row],
    variables: Sequence[dashboard_builders.QueryVariable] = (),
    annotations: Sequence[dashboard_builders.AnnotationQuery] = (),
    span: str = "now-6h",
) -> Dashboard:
    """Returns a dashboard of rows from top to bottom, with the data source as its first variable and links to our others."""
    built = (
        dashboard_builders.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags([TAG])
        .editable()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time(span, "now")
        .version(1)
        .annotations(list(annotations))
        .link(
            dashboard_builders.DashboardLink("Relay dashboards")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(
            dashboard_builders.DatasourceVariable("datasource")
            .label("Prometheus")
            .type("prometheus")
        )
    )
    for variable in variables:
        built = built.with_variable(variable)
    made = built.build()
    made.panels = _laid_out(rows)
    return made


def variable(
    name: str, *, label: str, query: str, is_hidden: bool = False
) -> dashboard_builders.QueryVariable:
    """Returns a variable whose values are those of a label."""
    hide = dashboard.VariableHide.HIDE_VARIABLE if is_hidden else dashboard.VariableHide.DONT_HIDE
    return (
        dashboard_builders.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .hide(hide)
    )


def annotation(name: str, expr: str, *, colour: str) -> dashboard_builders.AnnotationQuery:
    """Returns a mark on all panels for the time in which a query has series."""
    return (
        dashboard_builders.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(colour)
        .expr(expr)
    )


def _laid_out(rows: Sequence[Row]) -> list[Panel | dashboard.RowPanel]:
    """Places panels from left to right, and each row below the former one."""
    placed: list[Panel | dashboard.RowPanel] = []
    y = 0
    for row in rows:
        heading = dashboard.GridPos(h=1, w=24, x=0, y=y)
        placed.append(
            dashboard.RowPanel(id_val=len(placed) + 1, title=row.title, grid_pos=heading, panels=[])
        )
        y += 1
        x = height = 0
        for panel in row.panels:
            assert panel.grid_pos is not None
            if x + panel.grid_pos.w > 24:
                x, y, height = 0, y + height, 0
            panel.grid_pos.x, panel.grid_pos.y = x, y
            panel.id_val = len(placed) + 1
            placed.append(panel)
            x, height = x + panel.grid_pos.w, max(height, panel.grid_pos.h)
        y += height
    return placed


def _reference(number: int) -> str:
    return chr(ord("A") + number)


def _dataquery(query: Query, number: int) -> prometheus_builders.Dataquery:
    return (
        prometheus_builders.Dataquery()
        .expr(query.expr)
        .legend_format(query.legend)
        .ref_id(_reference(number))
        .datasource(SOURCE)
    )


def _target(query: Query, number: int, *, instant: bool = False) -> prometheus_builders.Dataquery:
    made = _dataquery(query, number)
    return made.instant() if instant else made.range()


def _fixed(colour: str) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def _dashed() -> list[dashboard.DynamicConfigValue]:
    style = {"fill": "dash", "dash": [10, 10]}
    return [
        _fixed(RED),
        dashboard.DynamicConfigValue("custom.lineStyle", style),
        dashboard.DynamicConfigValue("custom.fillOpacity", 0),
    ]


def _thresholds(steps: Sequence[tuple[float, str]]) -> dashboard_builders.ThresholdsConfig:
    first = dashboard.Threshold(value=None, color=GREEN)
    more = [dashboard.Threshold(value=value, color=colour) for value, colour in steps]
    return (
        dashboard_builders.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps([first, *more])
    )


def _words(words: dict[str, tuple[str, str]]) -> dashboard.ValueMap:
    return dashboard.ValueMap(
        options={
            value: dashboard.ValueMappingResult(text=text, color=colour)
            for value, (text, colour) in words.items()
        }
    )
