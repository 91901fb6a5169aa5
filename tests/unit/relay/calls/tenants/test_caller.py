"""Who a request is from, and with which priority."""

import pytest
from tests.documents import with_tenant
from tests.unit.relay.documents import API_KEY, STAGING_KEY, document, sha256
from tests.unit.relay.memory import KeptLog

from relay.accounting.metric_report import Report
from relay.accounting.metrics import WorkerMetrics
from relay.budgets.purse import Purse
from relay.budgets.shared_counters import shared_counters
from relay.calls.tenants.caller import Caller, identify
from relay.calls.tenants.tenant_map import TenantMap
from relay.dialect.refusals import Refusal
from relay.http.message import Request
from relay.routing.snapshot import compile_snapshot
from relay_contract.document import ApiKey, Document

PURSE = Purse(shared_counters(1), 0)


def tenants(*documents: Document) -> TenantMap:
    served, metrics, log = TenantMap(), WorkerMetrics(), KeptLog()
    for one in documents:
        snapshot = compile_snapshot(one, f"digest-{one.generation}")
        served.install(snapshot, share=1.0, metrics=metrics, log=log, purse=PURSE, now=0.0)
    return served


def asked(
    key: str | None, served: TenantMap | None = None, /, *, at: float = 0.0, **headers: str
) -> Caller | Refusal:
    request = Request(at)
    request.fields = {name.replace("_", "-").encode(): v.encode() for name, v in headers.items()}
    if key is not None:
        request.fields[b"authorization"] = b"Bearer " + key.encode()
    return identify(request, tenants(document()) if served is None else served)


@pytest.mark.parametrize(
    ("key", "header", "priority"),
    [
        (API_KEY, None, "high"),
        (API_KEY, "low", "low"),
        (API_KEY, "HIGH", "high"),
        (API_KEY, "urgent", "normal"),
        (STAGING_KEY, "high", "normal"),
        (STAGING_KEY, None, "normal"),
    ],
)
def test_a_priority_can_only_be_lowered(key: str, header: str | None, priority: str) -> None:
    caller = asked(key, x_request_priority=header) if header else asked(key)
    assert isinstance(caller, Caller)
    assert caller.priority == priority


def test_who_may_not_call_is_told_why() -> None:
    assert asked(None) is Refusal.missing_api_key
    assert asked("sk-relay-finance-wrong") is Refusal.invalid_api_key
    assert asked(API_KEY, x_tenant_id="marketing") is Refusal.tenant_mismatch
    assert isinstance(asked(API_KEY, x_tenant_id="finance"), Caller)


def test_before_the_first_document_nobody_is_known() -> None:
    assert asked(API_KEY, TenantMap()) is Refusal.not_ready


def test_a_key_names_its_tenant_and_no_user() -> None:
    served = tenants(document())
    caller = asked(API_KEY, served)
    assert isinstance(caller, Caller)
    assert caller.tenant is served.tenant("uid-1")
    assert (caller.key.name, caller.user, caller.how) == ("production", None, "api_key")


async def test_a_caller_is_out_of_date_after_the_next_document() -> None:
    served = tenants(document())
    before = asked(API_KEY, served)
    assert isinstance(before, Caller)
    assert before.up_to_date
    snapshot = compile_snapshot(document(generation=2), "digest-2")
    served.install(
        snapshot, share=1.0, metrics=WorkerMetrics(), log=KeptLog(), purse=PURSE, now=1.0
    )
    after = asked(API_KEY, served)
    assert isinstance(after, Caller)
    assert (before.up_to_date, after.up_to_date) == (False, True)
    assert after.tenant is before.tenant


def test_the_keys_of_two_tenants_lead_to_their_own() -> None:
    keys = document().tenant.keys
    served = tenants(document(keys=keys[:1]), document(uid="uid-2", name="sales", keys=keys[1:]))
    callers = [asked(API_KEY, served), asked(STAGING_KEY, served)]
    found = [caller.tenant.uid for caller in callers if isinstance(caller, Caller)]
    assert found == ["uid-1", "uid-2"]
    assert asked(STAGING_KEY, served, x_tenant_id="finance") is Refusal.tenant_mismatch


def rotated(**digests: str) -> Document:
    known = document(generation=2)
    keys = known.tenant.keys
    changed = keys[0].model_copy(
        update={f"{field}_sha256": sha256(key) for field, key in digests.items()}
    )
    return with_tenant(known, keys=(changed, *keys[1:]))


def test_during_a_rotation_the_previous_and_the_coming_key_have_the_name_and_the_rights() -> None:
    served = tenants(rotated(previous="old-key", next="new-key"))
    for key, is_previous in ((API_KEY, False), ("old-key", True), ("new-key", False)):
        caller = asked(key, served)
        assert isinstance(caller, Caller)
        assert (caller.key.name, caller.priority) == ("production", "high")
        assert caller.key.is_previous is is_previous


def test_a_digest_that_is_current_of_one_name_and_previous_of_another_is_the_current_one() -> None:
    caller = asked(STAGING_KEY, tenants(rotated(previous=STAGING_KEY)))
    assert isinstance(caller, Caller)
    assert (caller.key.name, caller.key.is_previous) == ("staging", False)


def uses(served: TenantMap, *, now: float) -> dict[tuple[str, ...], int]:
    report: Report = {}
    served.report_uses(report, wall=1000.0 + now, now=now)
    return dict(report["relay_api_key_last_used_timestamp_seconds"])


async def test_the_last_use_of_a_key_is_told_and_outlives_the_document_in_which_it_was_current() -> (
    None
):
    served = tenants(document())
    assert uses(served, now=1.0) == {("production", "current"): 0, ("staging", "current"): 0}
    asked(API_KEY, served, at=7.0)
    asked("unknown", served, at=8.0)
    assert uses(served, now=9.0)["production", "current"] == 1007
    news = with_tenant(
        document(generation=3),
        keys=(ApiKey(name="production", sha256=sha256("new"), previous_sha256=sha256(API_KEY)),),
    )
    snapshot = compile_snapshot(news, "digest-3")
    served.install(
        snapshot, share=1.0, metrics=WorkerMetrics(), log=KeptLog(), purse=PURSE, now=10.0
    )
    assert uses(served, now=20.0) == {
        ("production", "current"): 0,
        ("production", "previous"): 1007,
    }
