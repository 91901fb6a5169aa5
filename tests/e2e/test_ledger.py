"""The ledger in a cluster: installed by the chart, given prices by the operator, reached by relays and by nobody else."""

import base64
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.demo import billing, ledger_volume, stage
from tests.demo.commands import Cluster, wait_until
from tests.e2e import boards, notes
from tests.e2e.test_tenancy import _CONNECT, apply, becomes

LEDGER = billing.LEDGER
SPACE = stage.OPERATOR_NAMESPACE
CLASS = "of-the-ledgers-test"
VALUES = {
    "ledger.enabled": True,
    "ledger.database.sqlite": {"size": "1Gi", "storageClass": CLASS},
    "ledger.outboxMebibytes": 16,
}
DIRECTORY = Path(f"/var/tmp/relay-ledger-test-{os.getpid()}")
"""Of the node, which is this machine where the cluster is embedded; another process has a cluster of its own there."""
TODAY = datetime.now(UTC).date()
THIS_MONTH = ("--from", f"{TODAY - timedelta(days=1)}", "--until", f"{TODAY + timedelta(days=2)}")
# makes one call from a pod to the relay in it, and prints the status
_CALL = """
import json, sys, urllib.request
message = {"role": "user", "content": "hello"}
body = json.dumps({"model": sys.argv[2], "messages": [message], "max_tokens": 4}).encode()
headers = {"authorization": "Bearer " + sys.argv[1], "content-type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:8080/v1/chat/completions", body, headers)
print(urllib.request.urlopen(request, timeout=20).status)
"""
PRICES = [{"perMillionTokens": {"input": "3", "output": "12"}}]
PROVIDER = {
    "endpoint": {"serviceRef": {"namespace": "providers", "name": "legacy", "port": 80}},
    "auth": {"secretName": "legacy-key"},
    "models": [{"name": "gpt-4.1", "prices": PRICES}, {"name": "gpt-new"}],
}


OF_FAULTS = {
    ("Batches refused", "{{reason}}"),
    ("Records kept apart", "{{reason}}"),
    ("Connections ended by the ledger", "{{reason}}"),
}
"""Panels and legends of the dashboard that have series only when something is wrong."""
OF_LATER = {
    ("Since the last good audit", "age"),
    ("Since the last reconciliation", "{{provider}}"),
}
"""Those of what a ledger does after a quarter of an hour, or with a provider's reports."""
OF_TOOLS = {
    ("Cost per tool server", "{{server}}"),
    ("Charge per tool server", "{{server}}"),
    ("Requests to tool servers by outcome", "{{outcome}}"),
    ("Tool calls booked", "{{server}}"),
    ("Tools that chat was denied", "{{method}}"),
}
"""Those of tools, which nobody calls here; tests/chart/test_dashboards.py tries them with series of their own."""
SINCE_SECONDS = 300
VARIABLES = {"namespace": "relay-billed", "tenant": "billed", "route": "chat"}


@pytest.fixture(scope="module")
def ledger(staged: Cluster) -> Iterator[Cluster]:
    """Installs the ledger, with a Tenant that is billed and a route."""
    ledger_volume.make(staged, CLASS, directory=DIRECTORY)
    dns = stage.dns_server_cidrs(staged)
    stage.install_chart(staged, dns_cidrs=dns, more=VALUES)
    models = [{"name": "gpt-4.1", "prices": PRICES}]
    apply(staged, "PriceList", "standard", {"currency": "USD", "models": models})
    apply(staged, "Provider", "billed", PROVIDER)
    apply(staged, "Tenant", "billed", {"billing": {"priceList": "standard", "markupPercent": 10}})
    staged.kubectl("wait", "tenant/billed", "--for=condition=Ready", "--timeout=90s")
    apply(staged, "RelayRoute", "chat", {"stable": {"provider": "billed"}}, "relay-billed")
    yield staged
    staged.kubectl("delete", "tenant", "billed", "--timeout=90s")
    staged.kubectl("delete", "provider/billed", "pricelist/standard")
    stage.install_chart(staged, dns_cidrs=dns)
    staged.kubectl("delete", "pvc", LEDGER, "-n", SPACE, "--timeout=60s")
    ledger_volume.remove(staged, CLASS, directory=DIRECTORY)


def ask(cluster: Cluster, *words: str) -> str:
    """Runs relay-ledger in its pod."""
    return cluster.kubectl(
        "exec", f"deployment/{LEDGER}", "-n", SPACE, "--", "relay-ledger", *words
    )


@pytest.mark.timeout(300)
def test_prices_are_in_force_within_seconds_and_what_lacks_one_is_told(ledger: Cluster) -> None:
    in_force = becomes(ledger, "pricelist", "standard", "PricesInForce", "InForce")
    assert "the ledger books by version standard@" in in_force["message"]
    unpriced = becomes(ledger, "provider", "billed", "Priced", "Unpriced")
    assert "gpt-new." in unpriced["message"]
    assert becomes(ledger, "tenant", "billed", "Priced", "Priced")["status"] == "True"
    ledger.kubectl("wait", "tenant/billed", "--for=condition=Ready", "--timeout=60s")
    billing = wait_until(
        "a month in status",
        lambda: ledger.get("tenant", "billed")["status"].get("billing", {}),
        lambda seen: "spent" in seen,
        seconds=90,
    )
    assert billing["spent"] == "0.00"
    listed = ledger.kubectl("get", "pricelist", "standard", "--no-headers")
    assert listed.split()[:3] == ["standard", "True", "InForce"]
    # another price from the first moment on changes nothing by itself
    dearer = [{"name": "gpt-4.1", "prices": [{"perMillionTokens": {"input": "4", "output": "12"}}]}]
    apply(ledger, "PriceList", "standard", {"currency": "USD", "models": dearer})
    told = becomes(ledger, "pricelist", "standard", "PricesInForce", "BackDated")
    assert "relay-ledger prices reprice" in told["message"]
    command = ("prices", "reprice", *THIS_MONTH)
    assert "dry run, nothing is booked" in ask(ledger, *command)
    assert "booked" in ask(ledger, *command, "--commit")
    becomes(ledger, "pricelist", "standard", "PricesInForce", "InForce", seconds=90)


def test_what_the_notes_say_of_a_ledger_works_as_pasted(ledger: Cluster) -> None:
    report, lists = [
        line
        for line in notes.lines(notes.of(ledger))
        if "relay-ledger" in line or "pricelists" in line
    ]
    assert notes.pasted(ledger, report).startswith("tenant,")
    assert "standard" in notes.pasted(ledger, lists)


def test_a_relay_has_its_token_and_reaches_the_ledgers_one_port(ledger: Cluster) -> None:
    secret = ledger.get("secret", "relay-ledger", "-n", "relay-billed")
    token = base64.b64decode(secret["data"]["token"]).decode()
    assert token.startswith(f"{ledger.get('tenant', 'billed')['metadata']['uid']}.")
    [pod] = ledger.get("pods", "-n", SPACE, "-l", f"app.kubernetes.io/name={LEDGER}")["items"]
    address = pod["status"]["podIP"]

    def connect(port: int) -> str:
        command = (
            "exec",
            "deployment/relay",
            "-n",
            "relay-billed",
            "--",
            "python3",
            "-c",
            _CONNECT,
        )
        return ledger.kubectl(*command, address, str(port)).strip()

    wait_until(
        "the way to the ledger", lambda: connect(8090), lambda seen: seen == "open", seconds=30
    )
    assert connect(8091).startswith("closed")


@pytest.mark.timeout(300)
def test_calls_are_booked_with_cost_and_charge_and_one_without_a_price_is_told(
    ledger: Cluster,
) -> None:
    ledger.kubectl(
        *("wait", "relayroute/chat", "-n", "relay-billed"),
        *("--for=condition=Ready", "--timeout=60s"),
    )
    keys = ledger.get("secret", "relay-api-keys", "-n", "relay-billed")["data"]
    key = base64.b64decode(keys["default"]).decode()
    for model in ("gpt-4.1", "gpt-4.1", "gpt-new"):
        command = ("exec", "-n", "relay-billed", "deployment/relay", "--", "python3", "-c", _CALL)
        assert ledger.kubectl(*command, key, model).strip() == "200"

    def booked() -> dict[str, dict[str, Any]]:
        rows = json.loads(ask(ledger, "report", *THIS_MONTH, "--by", "model", "--format", "json"))
        return {row["model"]: row for row in rows["rows"]}

    found = wait_until("three attempts", booked, lambda seen: _attempts(seen) == 3, seconds=60)
    assert float(found["gpt-4.1"]["charge_usd"]) > float(found["gpt-4.1"]["cost_usd"]) > 0
    told = becomes(ledger, "tenant", "billed", "Priced", "Unpriced", seconds=90)
    assert "gpt-new" in told["message"]


def test_the_bill_of_the_demonstration_is_read_from_it(ledger: Cluster) -> None:
    bill = billing.read(ledger, answered=3, tenant="billed", incumbent="billed")
    assert bill.total.calls == 3
    assert bill.unpriced == 1
    assert bill.attempts_by_source["provider"] == 3
    # what was paid and what the same provider asks is the same
    assert bill.saving.paid == bill.saving.before
    assert bill.saving.difference == "0.00"


def _attempts(rows: dict[str, dict[str, Any]]) -> int:
    return sum(int(row["attempts"]) for row in rows.values())


def test_all_sums_are_those_of_their_parts(ledger: Cluster) -> None:
    said = ask(ledger, "audit", *THIS_MONTH)
    assert "0 sums differ" in said


def test_no_line_is_kept_apart(ledger: Cluster) -> None:
    assert len(ask(ledger, "quarantine").splitlines()) <= 1


def test_no_alert_waits_for_a_receiver(ledger: Cluster) -> None:
    [columns] = ask(ledger, "alerts").splitlines()
    assert columns.startswith("tenant")
    assert "0 alerts are sent again" in ask(ledger, "alerts", "--send-again")
    assert "0 alerts are dismissed" in ask(ledger, "alerts", "--dismiss")


@pytest.mark.timeout(120)
def test_the_ledgers_dashboard_has_had_series_of_all_but_faults(
    ledger: Cluster,
) -> None:
    unanswered = boards.unanswered(ledger, seconds=SINCE_SECONDS, variables=VARIABLES)
    empty = {(panel, legend) for board, panel, legend in unanswered if board == "relay-ledger"}
    assert empty <= OF_FAULTS | OF_LATER | OF_TOOLS
