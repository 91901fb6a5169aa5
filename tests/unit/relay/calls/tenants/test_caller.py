"""Who a request is from, and with which priority."""

import pytest
from tests.unit.relay.documents import API_KEY, STAGING_KEY, document
from tests.unit.relay.memory import KeptLog

from relay.accounting.metrics import WorkerMetrics
from relay.calls.tenants.caller import Caller, identify
from relay.calls.tenants.tenant_map import TenantMap
from relay.dialect.refusals import Refusal
from relay.http.message import Request
from relay.routing.snapshot import compile_snapshot
from relay_contract.document import Document


def tenants(*documents: Document) -> TenantMap:
    served, metrics, log = TenantMap(), WorkerMetrics(), KeptLog()
    for one in documents:
        snapshot = compile_snapshot(one, f"digest-{one.generation}")
        served.install(snapshot, share=1.0, metrics=metrics, log=log, now=0.0)
    return served


def asked(key: str | None, served: TenantMap | None = None, /, **headers: str) -> Caller | Refusal:
    request = Request(0.0)
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
    served.install(snapshot, share=1.0, metrics=WorkerMetrics(), log=KeptLog(), now=1.0)
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
