"""Whatever specs, failures and restarts come in a row: the weight never exceeds what the last spec allows."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.scenes import ANALYSIS, CANARY, SPACE, with_a_tenant
from tests.unit.relay_operator.surroundings import SYSTEM
from tests.unit.relay_operator.virtual_time import VirtualTimeLoop

SPECS: dict[str, dict[str, Any]] = {
    "valid": {},
    "another canary": {"canary": {"provider": "newer"}},
    "an unknown canary": {"canary": {"provider": "nobody"}},
    "an unknown stable side": {"stable": {"provider": "nobody"}},
    "an unusable analysis": {"analysis": {"window": "soon"}},
    "a fallback without a key": {"fallback": [{"provider": "keyless"}]},
}
FAILURES = ("good calls", "bad calls", "no key", "key", "outage", "refused", "healed", "restart")

a_spec = st.tuples(st.sampled_from(sorted(SPECS)), st.sampled_from([0, 10, 30, 60, 100]))
steps = st.lists(st.one_of(a_spec, st.sampled_from(FAILURES)), min_size=4, max_size=12)


class Play:
    """One operator after the other, over one cluster."""

    def __init__(self, stage: Stage, life: Life) -> None:
        self.stage, self.life = stage, life
        self.allowed = 0
        self.made: dict[str, Any] = {}

    def put(self, which: str, percent: int) -> None:
        spec = SPECS[which]
        canary = {**CANARY, "percent": percent, **spec.get("canary", {})}
        self.made = self.stage.route(**{"analysis": ANALYSIS, **spec, "canary": canary})
        self.allowed = percent

    async def take(self, step: Any) -> None:
        if isinstance(step, tuple):
            self.put(*step)
        elif step in ("good calls", "bad calls"):
            for _ in range(2):
                self._serve(failed=60 if step == "bad calls" else 0)
                await self.stage.settle(11)
        elif step == "restart":
            await self.life.end()
            self.life = await self.stage.operator()
        else:
            self._fail(step)
        await self.stage.settle(2)

    def weight(self) -> int:
        return self.stage.relays.weight("relay-1", "chat", namespace=SPACE) or 0

    def _serve(self, *, failed: float) -> None:
        stored = self.stage.server.stored("RelayRoute", "chat", namespace=SPACE)
        fingerprint = stored.get("status", {}).get("canaryFingerprint")
        if fingerprint:
            self.stage.serve(self.made, 100, failed=failed)

    def _fail(self, step: str) -> None:
        failures = self.life.api.failures
        if step == "no key":
            self.stage.server.remove("Secret", "new-key", namespace=SYSTEM)
        elif step == "key":
            self.stage.secret("new-key")
        elif step == "outage":
            failures.unreachable = True
        elif step == "refused":
            failures.statuses["ConfigMap"] = 403
        else:
            failures.unreachable = False
            failures.statuses.clear()


async def played(sequence: list[Any]) -> None:
    stage = Stage()
    life = await stage.operator()
    await with_a_tenant(stage)
    stage.provider("newer")
    stage.provider("keyless", key=False)
    play = Play(stage, life)
    play.put("valid", 100)
    await stage.settle()
    for step in sequence:
        before, allowed = play.weight(), play.allowed
        await play.take(step)
        assert play.weight() <= play.allowed
        if isinstance(step, tuple) and step[0] not in ("valid", "another canary"):
            assert play.weight() <= before, (step, before, allowed)
    play.life.api.failures.unreachable = False
    play.life.api.failures.statuses.clear()
    await stage.settle(70)
    status = stage.status("RelayRoute", "chat", tenant="finance")
    stored = stage.server.stored("RelayRoute", "chat", namespace=SPACE)
    assert status["weights"]["canaryPercent"] == play.weight() <= play.allowed
    assert status["observedGeneration"] == stored["metadata"]["generation"]
    await play.life.end()


@settings(max_examples=max(settings().max_examples // 3, 15))
@given(steps)
def test_no_weight_exceeds_what_the_last_spec_allows_and_status_tells_it(
    sequence: list[Any],
) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(played(sequence))
