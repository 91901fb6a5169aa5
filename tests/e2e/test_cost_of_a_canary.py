"""A canary with a limit of cost climbs by what the ledger has booked: it waits while that is too little to tell, unless it need not.

That a dearer one is held is shown by tests/simulation and tests/unit: a proof takes 30 looks at the ledger, eight minutes.
"""

import base64
from typing import Any

import pytest
from tests.demo.commands import Cluster, wait_until
from tests.e2e.test_ledger import PROVIDER, ledger  # noqa: F401 - the fixture
from tests.e2e.test_tenancy import apply, becomes

SPACE = "relay-billed"
DEARER = [{"perMillionTokens": {"input": "9", "output": "36"}}]
CALLED_SECONDS = 25
# calls the relay in its pod for so many seconds, in as many conversations, and prints how many got an answer
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
    time.sleep(0.1)
print(answered)
"""


def route(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("relayroute", "chat", "-n", SPACE)["status"]
    return found


def said(cluster: Cluster, type_: str) -> str:
    return next(
        (one["message"] for one in route(cluster)["conditions"] if one["type"] == type_), ""
    )


def call_for(cluster: Cluster, seconds: int) -> int:
    """Lets callers of both sides call for so long; returns how many calls were answered."""
    keys = cluster.get("secret", "relay-api-keys", "-n", SPACE)["data"]
    key = base64.b64decode(keys["default"]).decode()
    command = ("exec", "-n", SPACE, "deployment/relay", "--", "python3", "-c", _CALLS)
    return int(cluster.kubectl(*command, key, str(seconds)).strip())


@pytest.mark.timeout(600)
def test_a_canary_waits_for_what_its_calls_cost_unless_it_need_not(
    ledger: Cluster,  # noqa: F811 - the fixture
) -> None:
    models = [{"name": "gpt-4.1", "prices": DEARER}]
    apply(ledger, "Provider", "dearer", {**PROVIDER, "models": models})
    ledger.kubectl("wait", "provider/dearer", "--for=condition=Ready", "--timeout=60s")
    # calls before the ledger has its prices would have none
    becomes(ledger, "provider", "dearer", "Priced", "Priced")
    canary = {
        "provider": "dearer",
        "percent": 100,
        "progression": {"stepPercent": 50, "every": "5s"},
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
    assert call_for(ledger, CALLED_SECONDS) > 100
    wait_until(
        "calls of both sides that the ledger has booked",
        lambda: said(ledger, "WithinCost"),
        lambda seen: "too few calls of both sides have been compared yet" in seen,
        seconds=60,
    )
    waiting = becomes(ledger, "relayroute", "chat", "WithinCost", "TooFewRequests", namespace=SPACE)
    assert waiting["status"] == "Unknown"
    wait_until(
        "word that the step waits for its cost alone",
        lambda: said(ledger, "Ready"),
        lambda seen: "at 50 %, the step is passed but for its cost" in seen,
        seconds=60,
    )
    assert route(ledger)["weights"]["canaryPercent"] == 50
    analysis["cost"] = {"maxIncreasePercent": 20, "whenUnknown": "Continue"}
    apply(ledger, "RelayRoute", "chat", spec, SPACE)
    assert call_for(ledger, CALLED_SECONDS) > 100
    wait_until(
        "all traffic on the canary",
        lambda: route(ledger)["weights"]["canaryPercent"],
        lambda seen: seen == 100,
        seconds=60,
    )
    apply(ledger, "RelayRoute", "chat", {"stable": {"provider": "billed"}}, SPACE)
    ledger.kubectl("delete", "provider", "dearer")
