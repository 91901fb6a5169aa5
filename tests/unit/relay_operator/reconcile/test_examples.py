"""The example directories, applied to an empty cluster in any order as a newcomer's loop does: everything is Ready."""

import asyncio
import base64
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.ledger.test_budget_push import BudgetsOnSqlite
from tests.unit.relay_operator.reconcile.ledger.test_price_push import condition, stage_with
from tests.unit.relay_operator.virtual_time import VirtualTimeLoop, in_virtual_time

from relay_contract.billing.token_buckets import BilledUnits, TokenBuckets
from relay_ledger.prices.price_file import price_list_of
from relay_ledger.prices.pricing import Priced, Use, price_of
from relay_ledger.prices.tool_pricing import ToolUse, price_of_call
from relay_operator.errors import ApiServerRefused
from relay_operator.manifests.ledger import books

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"
FIRST = "01-first-tenant"
LATER = sorted(
    path for path in EXAMPLES.iterdir() if path.is_dir() and "02-canary" < path.name < "11"
)
"""They go on from the first tenant, each by itself."""
ADOPTING = ("11-one-file", "12-gitops/tenants")
"""They are another tenant each, with its namespace, beside the first."""
OURS = ("Tenant", "Provider", "ToolServer", "RelayRoute")
OF_THE_TENANT = {("Tenant", "finance"), ("Secret", "relay-api-key-digests")}
Manifest = dict[str, Any]


def objects(*paths: str) -> list[Manifest]:
    """Reads what `kubectl apply -f PATH...` applies: the files of a directory, without those of directories in it."""
    found = []
    for path in (EXAMPLES / path for path in paths):
        for file in sorted(path.glob("*.yaml")) if path.is_dir() else [path]:
            found += list(yaml.safe_load_all(file.read_text()))
    return found


def applied(stage: Stage, manifests: list[Manifest]) -> list[str]:
    """Applies each, as kubectl does, and returns what the API server refused."""
    refused = []
    for manifest in manifests:
        body = dict(manifest)
        entries = body.pop("stringData", {})
        if entries:
            encoded = {key: base64.b64encode(text.encode()) for key, text in entries.items()}
            body["data"] = {key: text.decode() for key, text in encoded.items()}
        try:
            stage.server.put(body)
        except ApiServerRefused as error:
            refused.append(str(error))
    return refused


async def become_ready(
    manifests: list[Manifest], stage: Stage | None = None
) -> dict[str, tuple[str, str]]:
    """Applies the objects again and again until the API server takes them all; returns what is not Ready then."""
    stage = stage or Stage()
    stage.tool_lists.tools["erp"] = [{"name": "read_invoice"}]
    life = await stage.operator()
    for _ in range(5):
        if not applied(stage, manifests):
            break
        await stage.settle(2)
    assert applied(stage, manifests) == []
    await stage.settle()
    for number in (1, 2):
        stage.pod(f"relay-{number}")
    await stage.settle(15)
    found = {}
    for kind in OURS:
        for one in stage.server.list(kind):
            conditions = {each["type"]: each for each in one["status"].get("conditions", [])}
            ready = conditions.get("Ready", {"status": "", "message": "no status"})
            if ready["status"] != "True":
                found[f"{kind} {one['metadata']['name']}"] = ready["status"], ready["message"]
    wanted = {one["metadata"]["name"] for one in manifests if one["kind"] == "Tenant"}
    assert {one["metadata"]["name"] for one in stage.server.list("Tenant")} == wanted
    await life.end()
    return found


def play(manifests: list[Manifest]) -> dict[str, tuple[str, str]]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(become_ready(manifests))


@settings(max_examples=max(settings().max_examples // 3, 15))
@given(st.permutations(objects(FIRST)))
def test_the_first_tenant_becomes_ready_in_any_order_of_its_objects(
    manifests: list[Manifest],
) -> None:
    assert play(manifests) == {}


@pytest.mark.parametrize(
    "paths",
    [
        (f"{FIRST}/public", f"{FIRST}/tenant.yaml", f"{FIRST}/route.yaml"),
        (FIRST, "02-canary"),
        (FIRST, "02-canary", "02-canary/next/adopt.yaml"),
        (FIRST, "02-canary", "02-canary/next/second.yaml"),
        *((FIRST, path.name) for path in LATER),
        (FIRST, "15-tools"),
    ],
    ids=lambda paths: " ".join(paths),
)
def test_the_other_examples_become_ready_as_their_pages_say(paths: tuple[str, ...]) -> None:
    assert play(objects(*paths)) == {}


@pytest.mark.parametrize("directory", ADOPTING)
def test_a_tenant_with_its_namespace_is_taken_at_the_first_try(directory: str) -> None:
    async def once() -> list[str]:
        stage = Stage()
        life = await stage.operator()
        refused = applied(stage, objects(directory))
        await stage.settle()
        [tenant] = stage.server.list("Tenant")
        await life.end()
        ready = {each["type"]: each["reason"] for each in tenant["status"]["conditions"]}
        assert ready["NamespaceReady"] == "Adopted"
        return refused

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(once()) == []


def test_the_example_with_a_certificate_is_the_first_tenant_with_the_secret_of_the_certificate() -> (
    None
):
    [first] = objects(f"{FIRST}/tenant.yaml")
    [sealed] = objects("13-cert-manager/tenant.yaml")
    [certificate] = [
        one
        for one in objects("13-cert-manager/certificate.yaml")
        if one["metadata"].get("namespace") == "relay-finance"
    ]
    tls = sealed["spec"]["network"].pop("tls")
    assert sealed == first
    assert tls == {"secretName": certificate["spec"]["secretName"]}


def test_the_example_with_tools_is_the_first_tenant_with_grants_of_the_server_beside_it() -> None:
    [first] = objects(f"{FIRST}/tenant.yaml")
    [granted] = objects("15-tools/tenant.yaml")
    [server] = objects("15-tools/tool-server.yaml")
    [prices] = objects("15-tools/price-list.yaml")
    tools, billing = granted["spec"].pop("tools"), granted["spec"].pop("billing")
    assert granted == first
    assert [one["server"] for one in tools["grants"]] == [server["metadata"]["name"]]
    assert billing == {"priceList": prices["metadata"]["name"]}
    for made in (
        books.charge_prices("standard", prices["spec"], 0),
        books.tool_prices("erp", server["spec"]),
    ):
        listed = price_list_of(made)
        # whatever the tenant may call has a price
        for tool in ("read_invoice", "list_orders"):
            assert isinstance(price_of_call(ToolUse("erp", tool, 0), listed), Priced)


def test_the_example_with_billing_is_the_first_tenant_with_prices_of_all_that_it_may_call() -> None:
    [first] = objects(f"{FIRST}/tenant.yaml")
    [billed] = objects("16-billing/tenant.yaml")
    [prices] = objects("16-billing/price-list.yaml")
    billing = billed["spec"].pop("billing")
    assert billed == first
    assert billing["priceList"] == prices["metadata"]["name"]
    charged = price_list_of(
        books.charge_prices("standard", prices["spec"], billing["markupPercent"])
    )
    for known, provider in zip(
        objects(f"{FIRST}/providers.yaml"), objects("16-billing/providers.yaml"), strict=True
    ):
        for one in (known, provider):
            for model in one["spec"]["models"]:
                assert model.pop("prices", None) or model.pop("inputPrice") + model.pop(
                    "outputPrice"
                )
        assert provider == known
    for provider in objects("16-billing/providers.yaml"):
        name = provider["metadata"]["name"]
        costs = price_list_of(books.cost_prices(name, provider["spec"]))
        for at in (0, 2**60):
            use = Use(
                name, "gpt-4.1", at, TokenBuckets(input=3, cache_read=2, output=5), BilledUnits()
            )
            cost, charge = price_of(use, costs), price_of(use, charged)
            assert isinstance(cost, Priced)
            assert isinstance(charge, Priced)
            # the platform earns something on every call, at any time
            assert cost.pico < charge.pico


@in_virtual_time
async def test_the_example_with_billing_becomes_ready_with_a_ledger(tmp_path: Path) -> None:
    stage, ledger = stage_with(tmp_path)
    stage.budgets = BudgetsOnSqlite(ledger)
    assert await become_ready(objects(FIRST, "16-billing"), stage) == {}
    for kind, name, type_ in (
        ("PriceList", "standard", "Ready"),
        ("Provider", "holysheep", "Priced"),
        ("Tenant", "finance", "Priced"),
    ):
        assert condition(stage, kind, name, type_)["status"] == "True"


def test_every_example_is_applied_by_a_command_of_its_page() -> None:
    pages = "".join(page.read_text() for page in EXAMPLES.rglob("README.md"))
    for file in EXAMPLES.rglob("*.yaml"):
        path = file.relative_to(EXAMPLES)
        ways = (f"examples/{path}", f"examples/{path.parent}", path.parent.name)
        either = "|".join(re.escape(way) for way in ways)
        assert re.search(rf"-f ({either})[\s;]", pages), path


def test_the_page_of_the_examples_names_each_of_them() -> None:
    named = re.findall(
        r"^\| \[([^]]+)\]\(\1\) \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE
    )
    assert named == sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


@pytest.mark.parametrize("directory", LATER, ids=lambda path: str(path.name))
def test_a_later_example_changes_the_route_or_the_tenant_of_the_first_and_nothing_else(
    directory: Path,
) -> None:
    [first] = objects(f"{FIRST}/route.yaml")
    for one in objects(directory.name):
        if one["kind"] != "RelayRoute":
            assert (one["kind"], one["metadata"]["name"]) in OF_THE_TENANT
            continue
        assert one["metadata"] == first["metadata"]
        assert (one["spec"]["match"], one["spec"]["stable"]) == (
            first["spec"]["match"],
            first["spec"]["stable"],
        )
