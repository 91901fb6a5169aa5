"""The ledger of the demonstration: a price list for the tenant at the beginning, and one bill at the end."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from tests.demo import stage
from tests.demo.commands import Cluster, wait_until
from tests.demo.view import bill

LEDGER: Final = "relay-operator-ledger"
INCUMBENT: Final = "legacy"
"""The provider that all calls went to before the migration."""
_UPSTREAM_NAME: Final = "gpt-4.1-2025=gpt-4.1"
"""What holysheep answers as, and what legacy has a price for."""
_PATCH: Final = '{"spec":{"billing":{"priceList":"standard"}}}'
_BOOKED_SECONDS: Final = 60.0


def begin(cluster: Cluster) -> None:
    """Has the tenant pay by a price list, and waits until the ledger books by it."""
    cluster.kubectl("apply", "-f", str(stage.MANIFESTS / "prices.yaml"))
    cluster.kubectl("patch", "tenant", "finance", "--type=merge", "-p", _PATCH)
    cluster.kubectl("wait", "pricelist/standard", "--for=condition=PricesInForce", "--timeout=60s")
    cluster.kubectl("wait", "tenant/finance", "--for=condition=Priced", "--timeout=60s")


def read(
    cluster: Cluster, *, answered: int, tenant: str = "finance", incumbent: str = INCUMBENT
) -> bill.Bill:
    """Returns the bill of this month once the ledger has every call that was answered; raises DemoFailed."""
    uid = cluster.get("tenant", tenant)["metadata"]["uid"]
    month = f"{datetime.now(UTC):%Y-%m}"
    at = ("--month", month, "--tenant", uid)
    report = ("report", *at, "--format", "json", "--by")
    by_model = wait_until(
        f"the bill of {answered} calls",
        lambda: ask(cluster, *report, "model,provider"),
        lambda seen: seen["total"]["delivered"] >= answered,
        seconds=_BOOKED_SECONDS,
    )
    list_of_incumbent = ("--price-list", f"cost..{incumbent}", "--model", _UPSTREAM_NAME)
    return bill.read(
        tenant=tenant,
        month=month,
        by_model=by_model,
        by_source=ask(cluster, *report, "source"),
        compared=ask(cluster, "compare", *at, *list_of_incumbent),
        incumbent=incumbent,
    )


def ask(cluster: Cluster, *words: str) -> dict[str, Any]:
    """Runs relay-ledger in its pod, and returns the JSON that it prints."""
    command = ("exec", f"deployment/{LEDGER}", "-n", stage.OPERATOR_NAMESPACE, "--")
    found: dict[str, Any] = json.loads(cluster.kubectl(*command, "relay-ledger", *words))
    return found
