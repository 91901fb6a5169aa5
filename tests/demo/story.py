"""The demonstration: a tenant gets its relay, one canary is promoted, another fails and is rolled back, a third fails a little.

The last is healthy: one call in two hundred fails, half of what its limit allows. It is not rolled back.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.demo import billing, stage
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.demo.providers import SimulatedProvider

FAULT = {"error_percent": 25.0, "error_status": 500}
"""Too few errors for the relay's own breaker, so the operator has to act on what Prometheus measured."""

USUAL_ERRORS = {"error_percent": 0.5, "error_status": 500}
KEPT_SECONDS = 24.0
"""How long the canary with the usual errors is watched after its last step: a thousand calls."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result. rollback_seconds is from the start of the fault to the last request the canary got.

    rolled_back is the route's status at that time; the kept_ fields are about the canary with the usual errors.
    """

    tenant_ready_seconds: float
    promoted: bool
    rollback_seconds: float
    rolled_back: dict[str, Any]
    kept_percent: int
    kept_requests: int
    kept_failures: int
    failed_requests: int
    dropped_requests: int
    sent_requests: int

    @property
    def answered_requests(self) -> int:
        """Returns how many calls were answered without an error."""
        return self.sent_requests - self.failed_requests - self.dropped_requests

    def line(self) -> str:
        """Returns the demonstration's last line, for machines."""
        return (
            f"demo: ok tenant_ready_seconds={self.tenant_ready_seconds:.2f} promoted={str(self.promoted).lower()} "
            f"rollback_seconds={self.rollback_seconds:.2f} failed_requests={self.failed_requests} "
            f"dropped_requests={self.dropped_requests} kept_percent={self.kept_percent} "
            f"kept_requests={self.kept_requests} kept_failures={self.kept_failures}"
        )


def run(cluster: Cluster, tell: Tell, *, billed: bool = False) -> Outcome:
    """Runs the demonstration; raises DemoFailed when a step does not end as expected. billed needs a ledger."""
    for name in stage.PROVIDERS:
        SimulatedProvider(cluster, name).reset()
    ready_seconds = _first_tenant(cluster, tell)
    if billed:
        billing.begin(cluster)
        tell("tenant finance pays by the price list standard; the ledger books by it")
    stage.start_caller(cluster)
    wait_until(
        "an answered call",
        lambda: totals(cluster),
        lambda seen: seen.get("answered", 0) > 0,
        seconds=60,
    )
    tell("traffic: 80 calls per second through the tenant's relay, all to the provider legacy")
    _promotion(cluster, tell)
    before = totals(cluster)
    rollback_seconds, rolled_back = _rollback(cluster, tell)
    failed = totals(cluster)["failed"] - before["failed"]
    tell(f"{failed} errors reached the tenant's application while that canary was proved bad")
    kept = _usual_errors(cluster, tell)
    settled = _settled(cluster)
    tell(
        f"calls: {settled['sent']} sent, {settled['answered']} answered, {settled['failed']} answered with an error, "
        f"{settled['dropped']} without an answer"
    )
    return Outcome(
        tenant_ready_seconds=ready_seconds,
        promoted=True,
        rollback_seconds=rollback_seconds,
        rolled_back=rolled_back,
        kept_percent=kept.percent,
        kept_requests=kept.requests,
        kept_failures=kept.failures,
        failed_requests=settled["failed"],
        dropped_requests=settled["dropped"],
        sent_requests=settled["sent"],
    )


def totals(cluster: Cluster) -> dict[str, Any]:
    """Returns the caller's latest totals; empty before its first report."""
    lines = (
        cluster.kubectl("logs", "-n", "web", "caller", "--tail=1", "--ignore-errors")
        .strip()
        .splitlines()
    )
    if not lines or not lines[-1].startswith("{"):
        return {}
    seen: dict[str, Any] = json.loads(lines[-1])
    return seen


def _first_tenant(cluster: Cluster, tell: Tell) -> float:
    example = stage.EXAMPLES / "01-first-tenant"
    tell("kubectl apply -f examples/01-first-tenant")
    cluster.kubectl("apply", "-f", str(example / "providers.yaml"))
    started = time.monotonic()
    cluster.kubectl("apply", "-f", str(example / "tenant.yaml"))
    cluster.kubectl("wait", "tenant/finance", "--for=condition=Ready", "--timeout=60s")
    seconds = time.monotonic() - started
    cluster.kubectl("apply", "-f", str(example / "route.yaml"))
    cluster.kubectl(
        "wait", "relayroute/chat", "-n", "relay-finance", "--for=condition=Ready", "--timeout=60s"
    )
    tell(f"tenant finance became Ready in {seconds:.1f} s")
    tell(cluster.kubectl("get", "tenants,providers"))
    return seconds


def _promotion(cluster: Cluster, tell: Tell) -> None:
    tell(
        "kubectl apply -f examples/02-canary/climb.yaml     # move from legacy to holysheep, 25 points every 4 s"
    )
    cluster.kubectl("apply", "-f", str(stage.EXAMPLES / "02-canary" / "climb.yaml"))
    _follow(cluster, tell, until="Promoted", seconds=90)
    tell(
        "kubectl apply -f examples/02-canary/next/adopt.yaml # make holysheep the stable side; no traffic moves"
    )
    cluster.kubectl("apply", "-f", str(stage.EXAMPLES / "02-canary" / "next" / "adopt.yaml"))
    _follow(cluster, tell, until="Stable", seconds=60)


def _rollback(cluster: Cluster, tell: Tell) -> tuple[float, dict[str, Any]]:
    tell(
        "kubectl apply -f examples/02-canary/next/second.yaml # start another canary, back to legacy"
    )
    cluster.kubectl("apply", "-f", str(stage.EXAMPLES / "02-canary" / "next" / "second.yaml"))
    _follow(cluster, tell, until="Progressing", seconds=60)
    legacy = SimulatedProvider(cluster, "legacy")
    wait_until(
        "a healthy verdict", lambda: _healthy_samples(cluster), lambda seen: seen, seconds=60
    )
    fault_at = legacy.behave(**FAULT)
    tell("fault injected: from now on a quarter of legacy's answers are errors")
    _follow(cluster, tell, until="RolledBack", seconds=60)
    # streams that began before the rollback may still run; no new call may arrive
    time.sleep(2)
    last_served = float(legacy.stats()["last_request_at"])
    again = float(legacy.stats()["last_request_at"])
    assert last_served == again, "the canary still gets calls after the rollback"
    tell(f"the canary got its last request {last_served - fault_at:.2f} s after the fault began")
    tell(cluster.kubectl("get", "relayroute", "chat", "-n", "relay-finance", "-o", "wide"))
    return last_served - fault_at, _status(cluster)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A canary that was not rolled back: its weight, and its calls as its provider counted them."""

    percent: int
    requests: int
    failures: int


def _usual_errors(cluster: Cluster, tell: Tell) -> _Kept:
    """Tries the canary again by hand, now with half as many errors as its limit allows."""
    legacy, status = SimulatedProvider(cluster, "legacy"), _status(cluster)
    legacy.reset()
    retry = f"relay-operator.dev/retry={status['canaryFingerprint']}/{status['run']}/force"
    tell("the fault is repaired")
    tell(
        f"kubectl -n relay-finance annotate --overwrite relayroute chat {retry}   # try this canary again, at once"
    )
    cluster.kubectl("annotate", "--overwrite", "relayroute", "chat", "-n", "relay-finance", retry)
    wait_until(
        "another run of the canary",
        lambda: _status(cluster),
        lambda seen: seen.get("run") != status["run"] and seen["weights"]["canaryPercent"] > 0,
        seconds=60,
    )
    legacy.behave(**USUAL_ERRORS, error_first=1)
    tell(
        "from now on one in two hundred of legacy's answers is an error, the first one at once; the limit is 1 %"
    )
    _follow(cluster, tell, until="Holding", seconds=60)
    _watch(cluster, KEPT_SECONDS)
    stats, status = legacy.stats(), _status(cluster)
    kept = _Kept(
        percent=status["weights"]["canaryPercent"],
        requests=stats["requests"],
        failures=stats["by_status"].get("500", 0),
    )
    share = 100 * kept.failures / kept.requests
    tell(
        f"{kept.failures} of the canary's {kept.requests} calls failed ({share:.1f} %), and it still has {kept.percent} % "
        "of the traffic"
    )
    [errors] = [row for row in status["analysis"]["metrics"] if row["name"] == "Errors"]
    # status has the evidence of up to a minute ago, so fewer calls than the provider has counted
    tell(f"its status of {status['analysis']['measuredAt']}: {errors['message']}")
    return kept


def _watch(cluster: Cluster, seconds: float) -> None:
    """Looks whether the canary keeps its weight."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        status = _status(cluster)
        if status["phase"] == "RolledBack" or not status["weights"]["canaryPercent"]:
            raise DemoFailed(f"a healthy canary was rolled back: {status.get('cause')}")
        time.sleep(1)


def _status(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("relayroute", "chat", "-n", "relay-finance").get(
        "status", {}
    )
    return found


def _healthy_samples(cluster: Cluster) -> bool:
    status = _status(cluster)
    return bool(status.get("analysis", {}).get("verdict") == "Healthy")


def _follow(cluster: Cluster, tell: Tell, *, until: str, seconds: float) -> None:
    """Prints every change of phase and weight since the newest spec, until the phase is reached."""
    told = ""

    def look() -> tuple[str, int]:
        nonlocal told
        route = cluster.get("relayroute", "chat", "-n", "relay-finance")
        status = route.get("status", {})
        if status.get("observedGeneration", -1) != route["metadata"]["generation"]:
            return "", 0
        phase, weight = status.get("phase", ""), status.get("weights", {}).get("canaryPercent", 0)
        messages = {one["type"]: one["message"] for one in status.get("conditions", [])}
        line = f"  {phase:<12} canary {weight:>3} %"
        if line != told:
            told = line
            tell(f"{line}   {messages.get('Ready', '')}")
        if phase == "RolledBack" != until:
            raise DemoFailed(
                f"rolled back while waiting for phase {until}: {messages.get('Ready', '')}"
            )
        return phase, weight

    wait_until(f"phase {until}", look, lambda seen: seen[0] == until, seconds=seconds, every=0.2)


def _settled(cluster: Cluster) -> dict[str, Any]:
    """Stops the caller and returns its totals once every call has ended."""
    cluster.kubectl(
        "exec", "-n", "web", "caller", "--", "python3", "-c", "import os; os.kill(1, 15)"
    )
    done = wait_until(
        "the end of the caller",
        lambda: cluster.get("pod", "caller", "-n", "web")["status"]["phase"],
        lambda phase: phase in ("Succeeded", "Failed"),
        seconds=40,
    )
    assert done == "Succeeded", cluster.kubectl("logs", "-n", "web", "caller", "--tail=20")
    return totals(cluster)
