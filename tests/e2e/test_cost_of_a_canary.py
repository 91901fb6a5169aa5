"""A canary that costs more than it may stays where it is, and its route tells what calls of both sides cost."""

import base64
from typing import Any

import pytest
from tests.demo.commands import Cluster, wait_until
from tests.e2e.test_ledger import PROVIDER, ledger  # noqa: F401 - the fixture
from tests.e2e.test_tenancy import apply, becomes

SPACE = "relay-billed"
DEARER = [{"perMillionTokens": {"input": "9", "output": "36"}}]
# calls the relay in its pod for so many seconds, four times a second, in as many conversations, and prints how many got an answer
_CALLS = """
import json, sys, time, urllib.request
key, until, answered, number = sys.argv[1], time.monotonic() + float(sys.argv[2]), 0, 0
while time.monotonic() < until:
    number += 1
    message = {"role": "user", "content": f"hello {number} of {time.time()}"}
    body = json.dumps({"model": "gpt-4.1", "messages": [message], "max_tokens": 4}).encode()
    headers = {"authorization": "Bearer " + key, "content-type": "application/json"}
    request = urllib.request.Request("http://127.0.0.1:8080/v1/chat/completions", body, headers)
    answered += urllib.request.urlopen(request, timeout=20).status == 200
    time.sleep(0.25)
print(answered)
"""


def route(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("relayroute", "chat", "-n", SPACE)["status"]
    return found


def call_for(cluster: Cluster, seconds: int) -> int:
    """Lets callers of both sides call for so long; returns how many calls were answered."""
    keys = cluster.get("secret", "relay-api-keys", "-n", SPACE)["data"]
    key = base64.b64decode(keys["default"]).decode()
    command = ("exec", "-n", SPACE, "deployment/relay", "--", "python3", "-c", _CALLS)
    return int(cluster.kubectl(*command, key, str(seconds)).strip())


@pytest.mark.timeout(1500)
def test_a_dearer_canary_is_held_and_both_costs_are_told(
    ledger: Cluster,  # noqa: F811 - the fixture
) -> None:
    models = [{"name": "gpt-4.1", "prices": DEARER}]
    apply(ledger, "Provider", "dearer", {**PROVIDER, "models": models})
    ledger.kubectl("wait", "provider/dearer", "--for=condition=Ready", "--timeout=60s")
    canary = {
        "provider": "dearer",
        "percent": 100,
        "progression": {"stepPercent": 50, "every": "10s"},
    }
    analysis = {
        "minRequests": 10,
        "errorRate": {"maxPercent": 5},
        "cost": {"maxIncreasePercent": 20},
    }
    spec = {"stable": {"provider": "billed"}, "canary": canary, "analysis": analysis}
    apply(ledger, "RelayRoute", "chat", spec, SPACE)
    wait_until(
        "the canary's first step",
        lambda: route(ledger).get("weights", {}).get("canaryPercent"),
        lambda seen: seen == 50,
        seconds=90,
    )
    # 30 looks at the ledger, 15 s apart, with calls of both sides
    for _ in range(10):
        assert call_for(ledger, 60) > 100
        told = route(ledger)
        if any(one["reason"] == "CostHigher" for one in told["conditions"]):
            break
    held = becomes(ledger, "relayroute", "chat", "WithinCost", "CostHigher", namespace=SPACE)
    assert held["status"] == "False"
    told = route(ledger)
    assert told["weights"]["canaryPercent"] == 50
    assert told["phase"] == "Holding"
    assert "stable" in told["cost"]["summary"]
    assert told["cost"]["currency"] == "USD"
    stable, canary_cost = told["cost"]["stable"], told["cost"]["canary"]
    assert float(canary_cost["perThousandCalls"]) > 2 * float(stable["perThousandCalls"]) > 0
    wide = ledger.kubectl("get", "relayroute", "chat", "-n", SPACE, "-o", "wide", "--no-headers")
    assert f"canary {canary_cost['perThousandCalls']} USD" in wide
    # a higher limit lets it go on
    analysis["cost"] = {"maxIncreasePercent": 900}
    apply(ledger, "RelayRoute", "chat", spec, SPACE)
    call_for(ledger, 60)
    wait_until(
        "all traffic on the canary",
        lambda: route(ledger)["weights"]["canaryPercent"],
        lambda seen: seen == 100,
        seconds=120,
    )
    apply(ledger, "RelayRoute", "chat", {"stable": {"provider": "billed"}}, SPACE)
    ledger.kubectl("delete", "provider", "dearer")
