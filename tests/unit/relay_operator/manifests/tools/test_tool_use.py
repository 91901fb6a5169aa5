"""A document has of tools what grants name, servers offer and somebody has approved, and loses at once what is taken away."""

from typing import Any

import pytest

from relay_contract.document import Document
from relay_contract.tools.definitions import Definition, ResourceDefinition
from relay_contract.tools.manifest import MAX_DEFINITIONS
from relay_operator.api.tenant import Tools
from relay_operator.api.tool_server import ToolServer
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import composable
from relay_operator.manifests.environment import Upstream
from relay_operator.manifests.tools import tool_use
from relay_operator.manifests.tools.tool_use import NO_TOOLS, Granted, Offer, Offers, ToolUse


def defined(*names: str, digest: str = "a") -> tuple[Definition, ...]:
    return tuple(Definition(name=name, digest=digest * 64) for name in names)


def server(name: str = "erp", **spec: Any) -> ToolServer:
    body = {"endpoint": {"url": f"https://{name}.example.com/mcp"}} | spec
    return composable.tool_server({"metadata": {"name": name, "uid": "u"}, "spec": body})


def offer(*names: str, of: str = "erp", **fields: Any) -> Offer:
    return Offer(
        server=server(of),
        upstream=Upstream(provider=of, port=443),
        tools=defined(*names),
        is_listed=True,
        **fields,
    )


def grants(*listed: dict[str, Any]) -> Tools:
    return Tools.model_validate({"grants": listed})


def compose(
    wanted: Tools | None, offers: Offers, in_force: ToolUse = NO_TOOLS, *, fits: bool = True
) -> Granted:
    return tool_use.granted(wanted, offers, in_force, lambda _: fits)


def granted_names(found: Granted) -> dict[str, list[str]]:
    manifest = found.use.manifest
    return {
        one.server: [tool.name for tool in one.tool_definitions]
        for one in (manifest.grants if manifest else ())
    }


ERP = grants({"server": "erp", "tools": ["read_invoice", "list_*"]})
OFFERS = {"erp": offer("read_invoice", "list_orders", "pay")}


def test_only_what_a_pattern_covers_and_somebody_approved_is_there() -> None:
    found = compose(ERP, OFFERS)
    assert granted_names(found) == {"erp": ["read_invoice", "list_orders"]}
    assert [one.url for one in found.use.servers] == ["https://erp.example.com/mcp"]


def test_a_document_takes_what_is_composed() -> None:
    use = compose(ERP, OFFERS).use
    text = {
        "generation": 1,
        "catalogue": {"toolServers": [one.model_dump(by_alias=True) for one in use.servers]},
        "tenant": {
            "name": "t",
            "uid": "u",
            "namespace": "relay-t",
            "tools": use.manifest.model_dump(by_alias=True) if use.manifest else None,
        },
    }
    assert Document.model_validate(text).tenant.tools == use.manifest


def test_a_tenant_whose_spec_does_not_speak_of_tools_has_nothing_of_it() -> None:
    assert compose(None, OFFERS) == Granted()


def test_a_tenant_with_no_grant_at_all_is_held_to_that_in_its_chat_calls_too() -> None:
    found = compose(Tools.model_validate({"onDenied": "Refuse"}), OFFERS)
    assert found.use.manifest is not None
    assert (found.use.manifest.grants, found.use.manifest.on_denied) == ((), "Refuse")


def test_a_rate_is_the_grants() -> None:
    limited = grants({"server": "erp", "tools": ["pay"], "requestsPerMinute": 30})
    manifest = compose(limited, OFFERS).use.manifest
    assert manifest is not None
    assert [one.requests_per_minute for one in manifest.grants] == [30]


def test_limits_of_tools_are_the_grants() -> None:
    limits = [{"name": "pay", "requestsPerMinute": 5}, {"name": "list_*", "requestsPerMinute": 60}]
    limited = grants({"server": "erp", "tools": ["pay"], "toolLimits": limits})
    manifest = compose(limited, OFFERS).use.manifest
    assert manifest is not None
    found = [(one.name, one.requests_per_minute) for one in manifest.grants[0].tool_limits]
    assert found == [("pay", 5), ("list_*", 60)]


@pytest.mark.parametrize(
    ("window", "seconds"),
    [({}, 600), ({"window": "90s"}, 90), ({"window": "1ms"}, 1), ({"window": "48h"}, 3600)],
)
def test_a_grant_says_which_calls_are_remembered_and_for_how_long(
    window: dict[str, str], seconds: int
) -> None:
    marked = {"tools": ["pay", "refund_*"], **window}
    wanted = grants({"server": "erp", "tools": ["*"], "idempotency": marked})
    manifest = compose(wanted, OFFERS).use.manifest
    assert manifest is not None
    idempotency = manifest.grants[0].idempotency
    assert idempotency is not None
    found = [idempotency.seconds_of(name) for name in ("pay", "refund_all", "pay_back", "read")]
    assert found == [seconds, seconds, 0, 0]


def test_a_grant_says_whether_models_are_told_of_the_tenant() -> None:
    for wanted, context in (({}, "Omit"), ({"context": "Inject"}, "Inject")):
        found = compose(grants({"server": "erp", "tools": ["pay"], **wanted}), OFFERS)
        assert found.use.manifest is not None
        assert [one.context for one in found.use.manifest.grants] == [context]


def test_a_server_that_is_gone_ends_its_grants() -> None:
    before = compose(ERP, OFFERS).use
    found = compose(ERP, {}, before)
    assert (found.use.servers, granted_names(found), found.missing) == ((), {}, ("erp",))


def test_a_server_that_was_not_looked_at_since_the_start_stays_as_it_is() -> None:
    before = compose(ERP, OFFERS).use
    found = compose(ERP, {"erp": None}, before)
    assert found.use == before
    assert found.unlisted == ("erp",)


def test_a_grant_that_became_smaller_is_smaller_before_its_server_was_looked_at() -> None:
    before = compose(ERP, OFFERS).use
    smaller = grants({"server": "erp", "tools": ["list_*"]})
    assert granted_names(compose(smaller, {"erp": None}, before)) == {"erp": ["list_orders"]}


def test_a_server_that_cannot_be_used_any_more_stays_with_what_is_still_approved() -> None:
    before = compose(ERP, OFFERS).use
    broken = Offer(problem="there is no Service", tools=defined("list_orders"), is_listed=True)
    found = compose(ERP, {"erp": broken}, before)
    assert found.use.servers == before.servers
    assert granted_names(found) == {"erp": ["list_orders"]}
    assert compose(ERP, {"erp": broken}).use.servers == ()


def test_nothing_is_added_where_all_together_are_too_much_and_what_is_taken_away_goes() -> None:
    before = compose(ERP, OFFERS).use
    many = [f"list_{number}" for number in range(MAX_DEFINITIONS + 1)]
    # list_orders has changed, and waits
    found = compose(ERP, {"erp": offer("read_invoice", *many)}, before)
    assert granted_names(found) == {"erp": ["read_invoice"]}
    assert f"{MAX_DEFINITIONS + 2} approved tools" in found.excess
    full = compose(ERP, {"erp": offer("read_invoice", "list_new")}, before, fits=False)
    assert granted_names(full) == {"erp": ["read_invoice"]}
    assert "no room" in full.excess


def test_a_grant_of_which_nothing_is_approved_is_told() -> None:
    assert compose(ERP, {"erp": offer("pay")}).unapproved == ("erp",)
    only_resources = grants({"server": "erp", "resources": ["file:///reports/*"]})
    assert compose(only_resources, {"erp": offer()}).unapproved == ()


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        (
            [{"server": "erp", "tools": ["list_*"]}, {"server": "crm", "tools": ["list_orders"]}],
            "overlap",
        ),
        ([{"server": "erp", "tools": ["a"]}, {"server": "erp", "tools": ["b"]}], "two grants"),
        ([{"server": "erp", "tools": ["a b"]}], "pattern"),
        ([{"server": "erp", "resources": ["no-scheme"]}], "scheme"),
    ],
)
def test_a_tenant_whose_grants_could_mean_two_things_is_refused(
    listed: list[dict[str, Any]], says: str
) -> None:
    body = {"metadata": {"name": "t", "uid": "u"}, "spec": {"tools": {"grants": listed}}}
    with pytest.raises(InvalidSpec, match=says):
        composable.filled_tenant(body)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"auth": {"secretName": "s", "header": "Mcp-Method"}}, "relays write themselves"),
        ({"auth": {"secretName": "s", "header": "Host"}}, "which server is meant"),
        ({"endpoint": {"url": "https://u:p@erp.example.com/mcp"}}, "without credentials"),
        ({"endpoint": {"url": "http://erp/mcp"}, "caBundle": "x"}, "caBundle"),
        ({"endpoint": {"url": "https://erp/mcp?a=b"}}, "url"),
    ],
)
def test_a_server_that_relays_would_refuse_is_refused_when_it_is_read(
    spec: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidSpec, match=says):
        server(**spec)


def test_a_service_is_asked_below_the_protocols_path() -> None:
    ref = {"serviceRef": {"namespace": "erp", "name": "tools", "port": 8080}}
    assert server(endpoint=ref).url == "http://tools.erp.svc.cluster.local:8080/mcp"


def resources(**digests: str) -> tuple[ResourceDefinition, ...]:
    return tuple(
        ResourceDefinition(name=f"memo://r/{name}", digest=one * 64)
        for name, one in digests.items()
    )


def held(found: Granted) -> dict[str, str] | None:
    assert found.use.manifest is not None
    (grant,) = found.use.manifest.grants
    listed = grant.resource_definitions
    return None if listed is None else {one.name[9:]: one.digest[:1] for one in listed}


MEMOS = grants({"server": "erp", "tools": ["list_*"], "resources": ["memo://r/*"]})


def test_a_document_has_the_resources_that_a_pattern_covers_and_what_waits_of_them() -> None:
    listed = (
        *resources(rates="a", rules=""),
        ResourceDefinition(name="memo://pay", digest="b" * 64),
    )
    templates = (
        ResourceDefinition(name="memo://r/{n}", digest="a" * 64),
        ResourceDefinition(name="memo://{any}", digest="a" * 64),
    )
    found = compose(MEMOS, {"erp": offer(resources=listed, templates=templates)})
    assert held(found) == {"rates": "a", "rules": ""}
    assert found.use.manifest is not None
    (grant,) = found.use.manifest.grants
    assert grant.template_definitions == templates[:1]
    assert held(compose(MEMOS, {"erp": offer()})) is None
    # of a grant without any there is nothing to say
    assert held(compose(ERP, {"erp": offer("list_orders", resources=listed)})) is None


def test_without_room_no_resource_is_added_and_what_waits_is_taken_away() -> None:
    had = compose(MEMOS, {"erp": offer(resources=resources(ra="a", rb="a", rc="a", rd="a"))})
    now = offer(resources=resources(ra="a", rb="", rc="b", re="a"))
    assert held(compose(MEMOS, {"erp": now}, had.use, fits=False)) == {
        "ra": "a",
        "rb": "",
        "rc": "",
    }
    assert held(compose(MEMOS, {"erp": now}, had.use)) == {
        "ra": "a",
        "rb": "",
        "rc": "b",
        "re": "a",
    }
    never = compose(MEMOS, {"erp": offer()})
    assert held(compose(MEMOS, {"erp": now}, never.use, fits=False)) is None
    assert held(compose(MEMOS, {"erp": None}, had.use)) == dict.fromkeys(
        ("ra", "rb", "rc", "rd"), "a"
    )
