"""The book is composed a piece at a time, and what nobody changed is not rendered again."""

import asyncio
from typing import Any

from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.billing.price_book import book_bytes, book_digest
from relay_operator.api.provider import Provider
from relay_operator.api.tenant import Tenant
from relay_operator.api.tool_server import ToolServer
from relay_operator.manifests.ledger import books
from relay_operator.reconcile.ledger.book_composer import BookComposer
from relay_operator.reconcile.watched_objects import Watched, WatchedObjects

PRICES = [{"perMillionTokens": {"input": "3", "output": "12.345678"}}]
STANDARD = {"currency": "USD", "models": [{"name": "gpt-4.1", "prices": PRICES}]}
GOLD = {
    "currency": "USD",
    "models": [{"name": "gpt-5", "prices": PRICES}],
    "tools": [{"name": "*", "server": "", "prices": [{"perCall": "0.01"}]}],
}
CALLS = [{"name": "read_*", "prices": [{"perCall": "0.002"}]}]


class Cluster:
    """Tenants and Providers as the watches show them."""

    def __init__(self) -> None:
        self.tenants = WatchedObjects(Tenant.parse)
        self.providers = WatchedObjects(Provider.parse)
        self.tool_servers = WatchedObjects(ToolServer.parse)
        self._version = 0

    def show(
        self, objects: WatchedObjects[Any], name: str, spec: dict[str, Any], **status: Any
    ) -> None:
        self._version += 1
        metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": f"{self._version}"}
        objects.store({"metadata": metadata, "spec": spec, "status": status})

    def tenant(self, name: str, *, status: dict[str, Any] | None = None, **billing: Any) -> None:
        self.show(self.tenants, name, {"billing": billing}, **(status or {}))

    def provider(self, name: str, models: list[dict[str, Any]]) -> None:
        endpoint = {"url": "https://api.example.com/v1"}
        self.show(self.providers, name, {"endpoint": endpoint, "models": models})

    def tool_server(self, name: str, **spec: Any) -> None:
        self.show(
            self.tool_servers, name, {"endpoint": {"url": "https://erp.example.com/mcp"}, **spec}
        )

    def shown(self, objects: WatchedObjects[Any]) -> dict[str, Watched[Any]]:
        return {one.name: one for one in objects.in_namespace("")}


def cluster_of(tenants: int) -> Cluster:
    cluster = Cluster()
    for number in range(tenants):
        cluster.tenant(f"tenant-{number}", priceList="standard", markupPercent=number % 50)
    cluster.tenant("free")
    cluster.tenant("lost", priceList="platinum", zone="Asia/Shanghai")
    cluster.show(cluster.tenants, "odd", {"billing": {"priceList": 7}})
    cluster.provider("openai", [{"name": "gpt-4.1", "prices": PRICES}])
    cluster.provider("unpriced", [{"name": "gpt-4.1"}])
    cluster.tool_server("erp", prices=CALLS)
    cluster.tool_server("odd", prices=CALLS, onChange="Never")
    cluster.tool_server("free")
    return cluster


async def composed(composer: BookComposer, cluster: Cluster, **price_lists: Any) -> Any:
    return await composer.compose(
        price_lists,
        cluster.shown(cluster.providers),
        cluster.shown(cluster.tenants),
        cluster.shown(cluster.tool_servers),
    )


@in_virtual_time
async def test_the_pieces_are_the_whole_book() -> None:
    cluster = cluster_of(60)
    made = await composed(BookComposer(), cluster, standard=STANDARD, gold=GOLD)
    tenants: dict[str, Any] = {
        "uid-free": {"name": "free"},
        "uid-lost": {
            "name": "lost",
            "billing": {"priceList": "platinum", "zone": "Asia/Shanghai"},
        },
        "uid-odd": {"name": "odd", "billing": {"priceList": 7}},
        **{
            f"uid-tenant-{number}": {
                "name": f"tenant-{number}",
                "billing": {"priceList": "standard", "markupPercent": number % 50},
            }
            for number in range(60)
        },
    }
    providers: dict[str, Any] = {
        "openai": {"models": [{"name": "gpt-4.1", "prices": PRICES}]},
        "unpriced": {"models": [{"name": "gpt-4.1"}]},
    }
    servers: dict[str, Any] = {"erp": {"prices": CALLS}, "odd": {"prices": CALLS}, "free": {}}
    book = books.book({"standard": STANDARD, "gold": GOLD}, providers, tenants, servers)
    assert made.content == book_bytes(book)
    assert made.digest == book_digest(made.content)
    assert set(made.lists) == {one["name"] for one in book["lists"]}
    assert len(made.lists) == 54
    assert (made.counts["standard"], made.counts["gold"], made.counts["platinum"]) == (60, 0, 1)
    assert made.made_of["gold"] == {"gold"}
    assert len(made.made_of["standard"]) == 50


@in_virtual_time
async def test_other_work_goes_on_while_a_book_is_composed() -> None:
    cluster, turns = cluster_of(1000), 0
    composing = asyncio.ensure_future(composed(BookComposer(), cluster, standard=STANDARD))
    while not composing.done():
        turns += 1
        await asyncio.sleep(0)
    # one for each of 53 lists and for each 200 Tenants
    assert turns > 50


@in_virtual_time
async def test_what_nobody_changed_is_kept_as_it_was_sent() -> None:
    cluster, composer = cluster_of(60), BookComposer()
    first = await composed(composer, cluster, standard=STANDARD, gold=GOLD)
    cluster.tenant("tenant-3", priceList="gold", status={"namespace": "relay-tenant-3"})
    cluster.tenant("tenant-4", priceList="standard", markupPercent=4, status={"namespace": "x"})
    cluster.provider("openai", [{"name": "gpt-4.1", "inputPrice": 7}])
    cluster.tool_server("erp", prices=[CALLS[0] | {"name": "pay"}])
    latter = await composed(composer, cluster, standard=STANDARD, gold=dict(GOLD, currency="EUR"))
    changed = {name for name, one in latter.lists.items() if one is not first.lists.get(name)}
    assert changed == {"gold", "cost..openai", "tools..erp"}
    assert (
        latter.content
        == (
            await composed(
                BookComposer(), cluster, standard=STANDARD, gold=dict(GOLD, currency="EUR")
            )
        ).content
    )
    # what is gone is not remembered
    cluster.tenant("tenant-5", priceList="gold", markupPercent=5)
    last = await composed(composer, cluster, gold=GOLD)
    assert set(last.lists) == {"gold", "gold.markup.5", "cost..openai", "tools..erp", "tools..odd"}
