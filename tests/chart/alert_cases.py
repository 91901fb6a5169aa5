"""Series under which each alert fires, and series close to them under which it must not.

Series are written as promtool has them: `0+1x10` begins at 0 and grows by 1 a minute, `1x10` stays.
"""

from dataclasses import dataclass

Series = dict[str, str]

_ROUTE = 'namespace="relay-finance",route="chat"'
_OPERATOR = f'{{job="relay-operator",{_ROUTE}}}'
_TENANT = '{job="relay-operator",namespace="relay-finance",tenant="finance"}'
_RELAY = 'job="relays",namespace="relay-finance",pod="relay-1"'
_SIDE = f'{_RELAY},route="chat",side="stable"'
ROUTE_LABELS = {"namespace": "relay-finance", "route": "chat"}
NAMESPACE_LABELS = {"namespace": "relay-finance"}
TENANT_LABELS = {"namespace": "relay-finance", "tenant": "finance"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An alert; when it fires, in minutes, with which labels, and what stands for $value in its texts.

    quiet are scenes under which it does not fire, looked at just as late, by what they show.
    """

    alert: str
    fires: Series
    minutes: int
    labels: dict[str, str]
    quiet: dict[str, Series]
    severity: str = "warning"
    value: str = ""
    not_before: int = 0


def _phase(phase: str, values: str = "1x2000", *, job: str = "relay-operator") -> Series:
    labels = f'{{job="{job}",{_ROUTE},phase="{phase}"}}'
    return {f"relay_operator_route_phase{labels}": values}


def _leader(pod: str) -> str:
    return f'relay_operator_leader{{job="relay-operator",instance="{pod}"}}'


def _epoch(pod: str) -> str:
    return f'relay_operator_leader_epoch{{job="relay-operator",instance="{pod}"}}'


def _up(pod: str) -> str:
    return f'up{{job="relay-operator",instance="{pod}"}}'


def _watch(watch: str) -> str:
    return f'relay_operator_watch_age_seconds{{job="relay-operator",watch="{watch}"}}'


def _rejections(reason: str, values: str) -> Series:
    return {f'relay_rejections_total{{{_RELAY},reason="{reason}"}}': values}


def _oldest(urgency: str, values: str) -> Series:
    labels = f'{{job="relay-operator",urgency="{urgency}"}}'
    return {f"relay_operator_queue_oldest_seconds{labels}": values}


def _reconciles(outcome: str, values: str) -> Series:
    labels = f'{{job="relay-operator",kind="Tenant",outcome="{outcome}"}}'
    return {f"relay_operator_reconcile_duration_seconds_count{labels}": values}


def _api(code: str, values: str) -> Series:
    labels = f'{{job="relay-operator",verb="apply",code="{code}"}}'
    return {f"relay_operator_api_requests_total{labels}": values}


def _buckets(name: str, labels: str, rising: dict[str, str]) -> Series:
    """Returns the buckets of a histogram of the operator, by their upper bounds."""
    all_labels = ",".join(part for part in ('job="relay-operator"', labels) if part)
    return {
        f'relay_operator_{name}_bucket{{{all_labels},le="{bound}"}}': values
        for bound, values in rising.items()
    }


_LATE = {"0.25": "0+0x40", "1.0": "0+120x40", "+Inf": "0+120x40"}
"""Everything between a quarter of a second and a second."""
_IN_TIME = {"0.25": "0+120x40", "1.0": "0+120x40", "+Inf": "0+120x40"}


def _given_back(pod: str) -> str:
    return f'relay_operator_leads_given_back_total{{job="relay-operator",instance="{pod}"}}'


def _deliveries(answer: str, values: str) -> Series:
    return {f'relay_outbox_deliveries_total{{{_RELAY},answer="{answer}"}}': values}


def _outbox(name: str, values: str, **labels: str) -> Series:
    more = "".join(f',{label}="{value}"' for label, value in labels.items())
    return {f"relay_outbox_{name}{{{_RELAY}{more}}}": values}


def _of_the_ledger(series: str, values: str) -> Series:
    """Returns what the operator tells of the ledger."""
    return {"relay_operator_" + series % 'job="relay-operator"': values}


def _route(name: str, values: str) -> Series:
    return {f"relay_operator_route_{name}{_OPERATOR}": values}


def _tenant(name: str, values: str) -> Series:
    return {f"relay_operator_tenant_{name}{_TENANT}": values}


def _rollout(state: str, values: str) -> Series:
    labels = f'{{job="relay-operator",state="{state}"}}'
    return {f"relay_operator_rollout_tenants{labels}": values}


def _key(name: str, values: str) -> Series:
    labels = _TENANT.replace("}", ',key="production"}')
    return {f"relay_operator_api_key_{name}_timestamp_seconds{labels}": values}


def _used(values: str, *, generation: str = "previous") -> Series:
    labels = f'{{{_RELAY},key="production",generation="{generation}"}}'
    return {f"relay_api_key_last_used_timestamp_seconds{labels}": values}


def _histogram(name: str, labels: str, *, fast: int, slow: int, le: str) -> Series:
    """Calls a minute, of which the slow ones took longer than le seconds."""
    return {
        f'{name}_bucket{{{labels},le="0.001"}}': f"0+{fast}x60",
        f'{name}_bucket{{{labels},le="{le}"}}': f"0+{fast}x60",
        f'{name}_bucket{{{labels},le="300"}}': f"0+{fast + slow}x60",
        f'{name}_bucket{{{labels},le="+Inf"}}': f"0+{fast + slow}x60",
        f"{name}_count{{{labels}}}": f"0+{fast + slow}x60",
    }


def _overhead(*, fast: int, slow: int, job: str = "relays") -> Series:
    labels = _RELAY.replace('job="relays"', f'job="{job}"')
    rows = _histogram("relay_overhead_seconds", labels, fast=fast, slow=slow, le="0.1")
    # the relay's own buckets end at 0.5 s
    return {key.replace('le="300"', 'le="0.5"'): values for key, values in rows.items()}


def _first_token(*, fast: int, slow: int) -> Series:
    return _histogram("relay_time_to_first_token_seconds", _SIDE, fast=fast, slow=slow, le="10")


def _answers(*, good: int, bad: int, refused: int = 0) -> Series:
    labels = f'{_RELAY},endpoint="chat",model="gpt-4.1"'
    return {
        f'relay_requests_total{{{labels},status="200"}}': f"0+{good}x60",
        f'relay_requests_total{{{labels},status="502"}}': f"0+{bad}x60",
        f'relay_requests_total{{{labels},status="429"}}': f"0+{refused}x60",
    }


def _pods(*, wanted: int, programmed: int) -> Series:
    return _tenant("relay_pods", f"{wanted}x60") | _tenant(
        "relay_pods_programmed", f"{programmed}x60"
    )


def _certificate(ends: int) -> Series:
    return {f"relay_tls_certificate_expiration_timestamp_seconds{{{_RELAY}}}": f"{ends}x60"}


def _breaker(values: str, *, job: str = "relays-slo") -> Series:
    labels = f'job="{job}",namespace="relay-finance",pod="relay-1",route="chat",fingerprint="ab"'
    return {f"relay_slo_breaker_open{{{labels}}}": values}


def _webhook(outcome: str, values: str) -> Series:
    labels = f'{{job="relay-operator",outcome="{outcome}"}}'
    return {f"relay_operator_webhook_messages_total{labels}": values}


_UP = 'up{job="relay-operator",instance="operator:8090"}'

CASES = (
    Case(
        alert="RelayCanaryRolledBack",
        fires=_phase("RolledBack"),
        minutes=1,
        labels=ROUTE_LABELS,
        quiet={
            "a canary that climbs": _phase("Progressing"),
            "a pod that claims it through another job": _phase("RolledBack", job="pods"),
        },
    ),
    Case(
        alert="RelayCanaryFrozen",
        fires=_phase("Frozen"),
        minutes=3,
        labels=ROUTE_LABELS,
        not_before=1,
        quiet={"an incident of a minute": _phase("Frozen", "1 stale _x20") | _phase("Progressing")},
    ),
    Case(
        alert="RelayCanaryStuck",
        fires=_phase("Progressing") | _route("step_due_timestamp_seconds", "0x1500"),
        minutes=722,
        labels=ROUTE_LABELS,
        not_before=718,
        quiet={
            "a canary that stays at its target": _phase("Holding")
            | _route("step_due_timestamp_seconds", "0x1500")
            | _route("step_overdue", "0x1500"),
            "a step of a month": _phase("Progressing")
            | _route("step_due_timestamp_seconds", "2592000x1500"),
            "a shadow phase of two days": _phase("Shadowing")
            | _route("step_due_timestamp_seconds", "0x1500"),
        },
    ),
    Case(
        alert="RelayCanaryStuck",
        fires=_phase("Holding") | _route("step_overdue", "1x10"),
        minutes=1,
        labels=ROUTE_LABELS,
        quiet={"a step within its deadline": _phase("Holding") | _route("step_overdue", "0x10")},
    ),
    Case(
        alert="RelayCanaryPreflightFailing",
        fires=_phase("Preflight") | _route("ready", "0x20"),
        minutes=11,
        labels=ROUTE_LABELS,
        not_before=8,
        quiet={
            "a preflight that passes": _phase("Preflight", "1x3 stale _x20")
            | _phase("Progressing", "_x3 1x20")
            | _route("ready", "0x3 1x20"),
            "a canary that has passed and waits its turn": _phase("Preflight")
            | _route("ready", "1x20"),
        },
    ),
    Case(
        alert="RelayCanaryAwaitsApproval",
        fires=_route("awaiting_approval", "1x100"),
        minutes=61,
        labels=ROUTE_LABELS,
        severity="info",
        not_before=58,
        quiet={"an approval after half an hour": _route("awaiting_approval", "1x30 0x40")},
    ),
    Case(
        alert="RelayCanaryUnmeasurable",
        fires=_route("unmeasurable_since_timestamp_seconds", "60x20"),
        minutes=7,
        labels=ROUTE_LABELS,
        not_before=5,
        quiet={
            "a canary that is measured": _phase("Progressing"),
            "gaps of two minutes": _route(
                "unmeasurable_since_timestamp_seconds", "60x1 stale 240x1 stale 390x3"
            ),
        },
    ),
    Case(
        alert="RelayCanaryBreakerOpen",
        fires=_breaker("1x10"),
        minutes=2,
        labels=ROUTE_LABELS,
        not_before=0,
        quiet={
            "closed breakers": _breaker("0x10"),
            "a burst": _breaker("1 0x10"),
            "a pod that claims it through another job": _breaker("1x10", job="pods"),
        },
    ),
    Case(
        alert="RelayOverheadHigh",
        fires=_overhead(fast=90, slow=10),
        minutes=15,
        labels=NAMESPACE_LABELS,
        value="460ms",
        not_before=4,
        quiet={
            "one slow call in a thousand": _overhead(fast=999, slow=1),
            "ten calls a minute": _overhead(fast=9, slow=1),
        },
    ),
    Case(
        alert="RelayFirstTokenSlow",
        fires=_first_token(fast=90, slow=10),
        minutes=15,
        labels=ROUTE_LABELS | {"side": "stable"},
        value="4m 31s",
        not_before=4,
        quiet={
            "one slow call in a thousand": _first_token(fast=999, slow=1),
            "ten calls a minute": _first_token(fast=9, slow=1),
        },
    ),
    Case(
        alert="RelayErrors",
        fires=_answers(good=980, bad=20),
        minutes=15,
        labels=NAMESPACE_LABELS,
        severity="critical",
        value="2%",
        not_before=4,
        quiet={
            "half of the limit": _answers(good=995, bad=5),
            "refusals of calls over a limit": _answers(good=900, bad=0, refused=100),
            "ten calls a minute": _answers(good=9, bad=1),
        },
    ),
    Case(
        alert="RelayCertificateExpiring",
        fires=_certificate(604_000),
        minutes=5,
        labels=NAMESPACE_LABELS,
        severity="critical",
        quiet={"a month": _certificate(2_592_000)},
    ),
    Case(
        alert="RelayPreviousKeyInUse",
        fires=_key("previous_until", "10000x60") | _used("0+60x60"),
        minutes=20,
        labels=NAMESPACE_LABELS | {"key": "production"},
        value="2h 26m 40s",
        not_before=14,
        quiet={
            "a key that nobody uses any more": _key("previous_until", "10000x60") | _used("0x60"),
            "a key that is accepted for long": _key("previous_until", "50000x60")
            | _used("0+60x60"),
            "the current key": _key("previous_until", "10000x60")
            | _used("0+60x60", generation="current"),
        },
    ),
    Case(
        alert="RelayPodsNotProgrammed",
        fires=_pods(wanted=3, programmed=2),
        minutes=6,
        labels=TENANT_LABELS,
        severity="critical",
        value="2",
        not_before=4,
        quiet={
            "all pods": _pods(wanted=3, programmed=3),
            "pods that are rolled": _tenant("relay_pods", "3x10")
            | _tenant("relay_pods_programmed", "2x3 3x10"),
        },
    ),
    Case(
        alert="RelayKeyRotationOverdue",
        fires=_key("rotation_due", "600x100"),
        minutes=75,
        labels=TENANT_LABELS | {"key": "production"},
        value="1h 5m 0s",
        not_before=60,
        quiet={"one that is to come": _key("rotation_due", "4000x100")},
    ),
    Case(
        alert="RelayTenantNotIsolated",
        fires=_tenant("isolated", "0x60"),
        minutes=2,
        labels=TENANT_LABELS,
        severity="critical",
        quiet={
            "an isolated one": _tenant("isolated", "1x60"),
            "one of which nothing is known": _tenant("ready", "1x60"),
        },
    ),
    Case(
        alert="RelayRolloutStopped",
        fires=_rollout("stuck", "2x60") | _rollout("waiting", "28x60"),
        minutes=7,
        labels={},
        value="2",
        not_before=4,
        quiet={
            "one that goes on": _rollout("stuck", "0x60") | _rollout("waiting", "28x60"),
            "one that reached everyone": _rollout("stuck", "1x60") | _rollout("waiting", "0x60"),
            "one that went on in time": _rollout("stuck", "2x3 0x60")
            | _rollout("waiting", "28x60"),
        },
    ),
    Case(
        alert="RelayTenantNotReady",
        fires=_tenant("ready", "0x60"),
        minutes=16,
        labels=TENANT_LABELS,
        not_before=14,
        quiet={
            "a ready one": _tenant("ready", "1x60"),
            "a new one": _tenant("ready", "0x5 1x60"),
            "one that is not isolated": _tenant("ready", "0x60") | _tenant("isolated", "0x60"),
        },
    ),
    Case(
        alert="RelayRouteNotReady",
        fires=_route("ready", "0x60") | _phase("Stable") | _route("step_overdue", "0x60"),
        minutes=16,
        labels=ROUTE_LABELS,
        not_before=14,
        quiet={
            "a ready one": _route("ready", "1x60") | _phase("Progressing"),
            "one that was rolled back": _route("ready", "0x60") | _phase("RolledBack"),
            "one that waits for approval": _route("ready", "0x60")
            | _phase("Holding")
            | _route("awaiting_approval", "1x60"),
            "one that is overdue": _route("ready", "0x60") | _route("step_overdue", "1x60"),
            "one that cannot be measured": _route("ready", "0x60")
            | _route("unmeasurable_since_timestamp_seconds", "0x60"),
        },
    ),
    Case(
        alert="RelayWebhookFailing",
        fires=_webhook("given_up", "0x3 1x20"),
        minutes=6,
        labels={},
        not_before=2,
        quiet={
            "messages that arrive": _webhook("delivered", "0+5x20") | _webhook("given_up", "0x20"),
        },
    ),
    Case(
        alert="RelayOperatorWithoutLeader",
        fires={_leader("a"): "1x3 0x20", _leader("b"): "0x23"},
        minutes=10,
        labels={},
        severity="critical",
        not_before=8,
        quiet={
            "another one takes over": {_leader("a"): "1x3 0x20", _leader("b"): "0x3 1x20"},
            "one operator is gone": {_leader("a"): "1x3 _x20", _leader("b"): "0x3 1x20"},
        },
    ),
    Case(
        alert="RelayOperatorGivesLeadBack",
        fires={_given_back("a"): "0x3 1x3 2x20", _given_back("b"): "0x26"},
        minutes=10,
        labels={},
        not_before=5,
        quiet={
            "once": {_given_back("a"): "0x3 1x23", _given_back("b"): "0x26"},
            "a restart": {_given_back("a"): "1x3 0x23", _given_back("b"): "0x26"},
        },
    ),
    Case(
        alert="RelayOperatorAbsent",
        fires={_UP: "1x3 0x20"},
        minutes=10,
        labels={},
        severity="critical",
        not_before=8,
        quiet={"a restart": {_UP: "1x3 0 0 1x20"}},
    ),
    Case(
        alert="RelayOperatorTwoLeaders",
        fires={_leader("a"): "1x20", _leader("b"): "0x3 1x17"},
        minutes=6,
        labels={},
        severity="critical",
        not_before=4,
        quiet={
            "one of two": {_leader("a"): "1x20", _leader("b"): "0x20"},
            "a takeover between two scrapes": {
                _leader("a"): "1x5 0x15",
                _leader("b"): "0x4 1x16",
            },
        },
    ),
    Case(
        alert="RelayOperatorLeaderChanges",
        fires={_epoch("a"): "7x60 0 9 0 11 0 13x20", _epoch("b"): "0x60 8 0 10 0 12 0x20"},
        minutes=68,
        labels={},
        value="6",
        not_before=61,
        quiet={
            "two changes": {_epoch("a"): "7x60 0x20", _epoch("b"): "0x60 8x2 9x18"},
            "one leader that stays": {_epoch("a"): "7x90", _epoch("b"): "0x90"},
            "a first hour": {_epoch("a"): "900x70"},
        },
    ),
    Case(
        alert="RelayOperatorAlone",
        fires={_up("a"): "1x40", _up("b"): "1x3 0x37"},
        minutes=20,
        labels={},
        value="1",
        not_before=17,
        quiet={
            "both": {_up("a"): "1x40", _up("b"): "1x40"},
            "one that is replaced": {_up("a"): "1x40", _up("b"): "1x3 0x2", _up("c"): "_x5 1x30"},
        },
    ),
    Case(
        alert="RelayOperatorWatchSilent",
        fires={_watch("tenants"): "10x2 0+60x20", _watch("pods"): "30x30"},
        minutes=14,
        labels={"watch": "tenants"},
        value="11m 0s",
        not_before=8,
        quiet={
            "bookmarks once a minute": {_watch("tenants"): "5 65 5 65 5 65 5 65 5 65x20"},
            "one that was silent for a while": {_watch("tenants"): "0+60x6 5x20"},
        },
    ),
    Case(
        alert="RelayOperatorQueueSlow",
        fires=_oldest("urgent", "0x3 20x20"),
        minutes=9,
        labels={"urgency": "urgent"},
        value="20s",
        not_before=7,
        quiet={
            "normal ones for a while": _oldest("normal", "60x30"),
            "what is looked at by a resync": _oldest("background", "600x30"),
            "a moment": _oldest("urgent", "0x3 20x2 0x20"),
        },
    ),
    Case(
        alert="RelayOperatorQueueSlow",
        fires=_oldest("normal", "0x3 300x20"),
        minutes=9,
        labels={"urgency": "normal"},
        value="5m 0s",
        not_before=7,
        quiet={"less than two minutes": _oldest("normal", "110x30")},
    ),
    Case(
        alert="RelayOperatorDefect",
        fires=_reconciles("defect", "0x3 1x20") | _reconciles("done", "0+9x30"),
        minutes=6,
        labels={"kind": "Tenant", "outcome": "defect"},
        not_before=2,
        quiet={
            "what others refuse": _reconciles("refused", "0+5x30")
            | _reconciles("unavailable", "0+5x30")
            | _reconciles("defect", "3x30"),
        },
    ),
    Case(
        alert="RelayOperatorApiErrors",
        fires=_api("none", "0+6x40") | _api("200", "0+94x40"),
        minutes=12,
        labels={},
        value="6%",
        not_before=9,
        quiet={
            "a few": _api("503", "0+4x40") | _api("200", "0+96x40"),
            "conflicts and refusals": _api("409", "0+50x40") | _api("200", "0+50x40"),
        },
    ),
    Case(
        alert="RelayOperatorLoopLag",
        fires=_buckets("loop_lag_seconds", 'instance="a"', _LATE),
        minutes=13,
        labels={"instance": "a"},
        value="992.5ms",
        not_before=9,
        quiet={"one in time": _buckets("loop_lag_seconds", 'instance="a"', _IN_TIME)},
    ),
    Case(
        alert="RelayOperatorTickSlow",
        fires=_buckets(
            "slo_tick_duration_seconds",
            "",
            {"1.0": "0+0x40", "2.5": "0+120x40", "+Inf": "0+120x40"},
        ),
        minutes=13,
        labels={},
        value="2.485s",
        not_before=9,
        quiet={"ticks in time": _buckets("slo_tick_duration_seconds", "", _LATE)},
    ),
    Case(
        alert="RelayOperatorPushesSlow",
        fires=_buckets("push_duration_seconds", 'outcome="acknowledged"', _LATE),
        minutes=13,
        labels={},
        value="992.5ms",
        not_before=9,
        quiet={
            "pushes in time": _buckets("push_duration_seconds", 'outcome="acknowledged"', _IN_TIME),
            "pods that do not answer": _buckets(
                "push_duration_seconds", 'outcome="unanswered"', _LATE
            ),
        },
    ),
    Case(
        alert="RelayLedgerDown",
        fires=_deliveries("none", "0+2x40") | _deliveries("200", "9x40"),
        minutes=30,
        labels={},
        not_before=10,
        quiet={
            "some that fail": _deliveries("503", "0+2x40") | _deliveries("200", "0+9x40"),
            "nothing to deliver": _deliveries("none", "7x40"),
        },
    ),
    Case(
        alert="RelayOutboxFilling",
        fires=_outbox("bytes", "0x5 48318382x30"),
        minutes=15,
        labels={"namespace": "relay-finance", "pod": "relay-1"},
        value="72%",
        not_before=9,
        quiet={"less than half": _outbox("bytes", "33000000x40")},
    ),
    Case(
        alert="RelayRecordsDropped",
        fires=_outbox("records_dropped_total", "0x5 3x30", record="closed"),
        minutes=10,
        labels=NAMESPACE_LABELS,
        severity="critical",
        not_before=5,
        quiet={"some long ago": _outbox("records_dropped_total", "3x40", record="closed")},
    ),
    Case(
        alert="RelayRecordsQuarantined",
        fires=_outbox("records_quarantined_total", "0x5 1x30"),
        minutes=10,
        labels=NAMESPACE_LABELS,
        not_before=5,
        quiet={"some long ago": _outbox("records_quarantined_total", "5x40")},
    ),
    Case(
        alert="RelayLedgerAuditDiffers",
        fires={'relay_ledger_audit_differences{job="relay-ledger",pod="a"}': "0x3 2x20"},
        minutes=8,
        labels={},
        severity="critical",
        value="2",
        not_before=2,
        quiet={
            "none": {'relay_ledger_audit_differences{job="relay-ledger",pod="a"}': "0x40"},
        },
    ),
    Case(
        alert="RelayLedgerAuditOverdue",
        fires={'relay_ledger_audit_timestamp_seconds{job="relay-ledger",pod="a"}': "60x3300"},
        minutes=3130,
        labels={},
        not_before=3110,
        quiet={
            "one of two pods has made one": {
                'relay_ledger_audit_timestamp_seconds{job="relay-ledger",pod="a"}': "0x3300",
                'relay_ledger_audit_timestamp_seconds{job="relay-ledger",pod="b"}': "9000x3300",
            },
        },
    ),
    Case(
        alert="RelayAttemptsUnpriced",
        fires=_of_the_ledger('unpriced_models{%s,account="charge"}', "0x3 2x40"),
        minutes=25,
        labels={"account": "charge"},
        value="2",
        not_before=17,
        quiet={
            "every model has a price": _of_the_ledger('unpriced_models{%s,account="cost"}', "0x40"),
            "one that got it soon": _of_the_ledger(
                'unpriced_models{%s,account="cost"}', "0x3 1x8 0x40"
            ),
        },
    ),
    Case(
        alert="RelayUnpricedCallsRefused",
        fires=_rejections("model_unpriced", "0x5 3x30"),
        minutes=10,
        labels=NAMESPACE_LABELS,
        not_before=5,
        quiet={
            "some long ago": _rejections("model_unpriced", "3x40"),
            "refused for something else": _rejections("model_not_found", "0x5 3x30"),
        },
    ),
    Case(
        alert="RelayBudgetAlertsUndelivered",
        fires=_of_the_ledger("budget_alerts_undelivered{%s}", "0x3 2x30"),
        minutes=6,
        labels={},
        value="2",
        not_before=2,
        quiet={"each was taken": _of_the_ledger("budget_alerts_undelivered{%s}", "0x40")},
    ),
    Case(
        alert="RelayBudgetSpent",
        fires=_of_the_ledger("budgets_spent{%s}", "0x3 1x30"),
        minutes=6,
        labels={},
        severity="info",
        value="1",
        not_before=2,
        quiet={"something is left of each": _of_the_ledger("budgets_spent{%s}", "0x40")},
    ),
)
