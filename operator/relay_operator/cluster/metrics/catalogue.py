"""The operator's own metrics: names, labels, buckets. docs/metrics.md has a line for each; alerts and dashboard rely on them.

Labels have values out of short lists, never names of tenants, routes or pods: those are the state collector's
(reconcile/metrics), which has one series an object.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_CALL_BUCKETS: Final = (
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
)
"""Seconds. The last one is the deadline of a call to the API server; a push has 2 s."""
_WORK_BUCKETS: Final = (*_CALL_BUCKETS, 10.0, 30.0, 120.0)
"""Seconds. A reconcile is given up after the last one."""
_LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

RECONCILES: Final = Histogram(
    "relay_operator_reconcile_duration_seconds",
    "Time of reconciles by kind and outcome: done, or what it ended by: conflict (somebody wrote at the same time), unavailable (no "
    "answer), refused (by the API server), given_up (after two minutes), defect or cancelled. All but done are tried again.",
    ["kind", "outcome"],
    buckets=_WORK_BUCKETS,
)
QUEUE_WAIT: Final = Histogram(
    "relay_operator_queue_wait_seconds",
    "Time that a key waited in the queue until a worker took it, by urgency.",
    ["urgency"],
    buckets=_WORK_BUCKETS,
)
API_CALLS: Final = Counter(
    "relay_operator_api_requests_total",
    "Requests to the API server by verb and code of the answer; code none for those without an answer.",
    ["verb", "code"],
)
API_CALL_DURATION: Final = Histogram(
    "relay_operator_api_request_duration_seconds",
    "Time until the head of the API server's answer, by verb.",
    ["verb"],
    buckets=_CALL_BUCKETS,
)
UNPRICED_MODELS: Final = Gauge(
    "relay_operator_unpriced_models",
    "Models and tools of this month and the last ten days that are booked without a price, each counted for every Provider (cost), ToolServer (tool_cost) or Tenant (charge) that the ledger has booked it for.",
    ["account"],
)
BUDGETS_SPENT: Final = Gauge(
    "relay_operator_budgets_spent", "Budgets and credits of Tenants of which nothing is left."
)
BUDGET_ALERTS: Final = Counter(
    "relay_operator_budget_alerts_total",
    "Thresholds of budgets and credits that were crossed, each once in the life of the operator.",
    ["limit"],
)
for _limit in ("budget", "credit"):
    # so that the first one is an increase
    BUDGET_ALERTS.labels(_limit)
BUDGET_ALERTS_UNDELIVERED: Final = Gauge(
    "relay_operator_budget_alerts_undelivered",
    "Alerts of budgets and credits that the webhook's receiver has not taken for three days; relay-ledger alerts lists them.",
)
WATCH_AGE: Final = Gauge(
    "relay_operator_watch_age_seconds",
    "Time since the watch of this kind last brought an event or a bookmark.",
    ["watch"],
)
LOOP_LAG: Final = Histogram(
    "relay_operator_loop_lag_seconds",
    "How late a timer of the event loop comes, measured twice a second: what everything in the process waits for.",
    buckets=_LAG_BUCKETS,
)
PUSHES: Final = Histogram(
    "relay_operator_push_duration_seconds",
    "Time of pushes of documents to relay pods, by outcome: acknowledged, kept (the pod has a newer one), refused or unanswered.",
    ["outcome"],
    buckets=_CALL_BUCKETS,
)
SLO_TICKS: Final = Histogram(
    "relay_operator_slo_tick_duration_seconds",
    "Time of a look at all active canaries, with its questions to Prometheus. Nothing is counted while there is none.",
    buckets=_CALL_BUCKETS,
)
