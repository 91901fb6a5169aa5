"""Relays of tenants that use a Provider tell how it fares, at a cost that does not grow with the tenants."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.relay_pods import Pushes
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.provider_probe import ProbeOutcome, ProviderProbe
from relay_operator.cluster.relays import Pod


def probed(stage: Stage, name: str = "legacy") -> tuple[str, str]:
    found = stage.condition("Provider", name, "Probed")
    return found.get("status", ""), found.get("reason", "")


def ready(stage: Stage) -> tuple[str, str]:
    found = stage.condition("Provider", "legacy", "Ready")
    return found["status"], found["reason"]


def finds(stage: Stage, outcome: ProbeOutcome, **fields: Any) -> None:
    stage.relays.probes["legacy"] = ProviderProbe(provider="legacy", outcome=outcome, **fields)


async def in_use(stage: Stage, tenants: int = 1) -> Life:
    """Brings tenants with a route to legacy, and a pod each."""
    stage.provider("legacy", models=[{"name": "m"}])
    names = [f"t{n}" for n in range(tenants)]
    for name in names:
        stage.tenant(name)
    life = await stage.operator()
    await stage.settle()
    for name in names:
        stage.pod(f"relay-of-{name}", tenant=name)
        stage.route(tenant=name)
    await stage.settle(3)
    return life


@in_virtual_time
async def test_a_provider_that_nobody_uses_is_not_tried_and_says_so() -> None:
    stage = Stage()
    stage.provider("legacy")
    life = await stage.operator()
    await stage.settle(400)
    assert probed(stage) == ("Unknown", "NotInUse")
    assert ready(stage) == ("True", "Configured")
    assert stage.relays.probed == []
    await life.end()


@in_virtual_time
async def test_a_provider_in_use_is_tried_soon_and_then_at_a_bounded_cost() -> None:
    stage = Stage()
    life = await in_use(stage, tenants=5)
    assert probed(stage) == ("Unknown", "NotProbed")
    await stage.settle(15)
    assert probed(stage) == ("True", "Answers")
    await stage.settle(3600)
    # two pods every five minutes, whatever the number of tenants
    assert 20 <= len(stage.relays.probed) <= 30
    assert len({pod for pod, _ in stage.relays.probed}) == 5
    await life.end()


@pytest.mark.parametrize(
    ("outcome", "condition", "is_ready"),
    [
        ("Unlisted", ("Unknown", "Unlisted"), ("True", "Configured")),
        ("Throttled", ("Unknown", "Throttled"), ("True", "Configured")),
        ("Unauthorized", ("False", "Unauthorized"), ("False", "Unauthorized")),
        ("ServerError", ("False", "ServerError"), ("False", "ServerError")),
        ("Unreachable", ("False", "Unreachable"), ("False", "Unreachable")),
        ("KeyMissing", ("Unknown", "NotProbed"), ("True", "Configured")),
        ("NotInUse", ("Unknown", "NotProbed"), ("True", "Configured")),
    ],
)
@in_virtual_time
async def test_what_relays_find_is_told_and_gone_once_it_is_mended(
    outcome: ProbeOutcome, condition: tuple[str, str], is_ready: tuple[str, str]
) -> None:
    stage = Stage()
    finds(stage, outcome)
    life = await in_use(stage)
    await stage.settle(60)
    assert probed(stage) == condition
    assert ready(stage) == is_ready
    # calls go on: whether the provider serves shows by them
    route = stage.condition("RelayRoute", "chat", "Accepted", tenant="t0")
    assert route["status"] == "True"
    stage.relays.probes.clear()
    await stage.settle(330 if is_ready[0] == "True" else 30)
    assert probed(stage) == ("True", "Answers")
    assert ready(stage) == ("True", "Configured")
    await life.end()


@in_virtual_time
async def test_one_pod_that_fails_every_question_leaves_the_others_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    probe = Pushes.probe_provider

    async def asked(self: Pushes, pod: Pod, provider: str, *, stream: str = "") -> ProviderProbe:
        found = await probe(self, pod, provider, stream=stream)
        if pod.name == "relay-of-t0":
            raise ValueError("no address")
        return found

    monkeypatch.setattr(Pushes, "probe_provider", asked)
    life = await in_use(stage, tenants=2)
    await stage.settle(60)
    assert probed(stage) == ("True", "Answers")
    assert len({pod for pod, _ in stage.relays.probed}) == 2
    await life.end()


@in_virtual_time
async def test_a_model_that_is_not_listed_is_a_warning() -> None:
    stage = Stage()
    finds(stage, "Answered", not_listed=("m",))
    life = await in_use(stage)
    await stage.settle(20)
    assert probed(stage) == ("False", "ModelNotListed")
    assert ready(stage) == ("True", "Configured")
    await life.end()


@in_virtual_time
async def test_one_lost_call_is_no_outage() -> None:
    stage = Stage()
    life = await in_use(stage)
    await stage.settle(20)
    stage.provider("legacy", models=[{"name": "m"}, {"name": "n"}])
    finds(stage, "Unreachable")
    await stage.settle(15)
    stage.relays.probes.clear()
    await stage.settle(60)
    assert probed(stage) == ("True", "Answers")
    assert "Unreachable" not in stage.events()
    await life.end()


@in_virtual_time
async def test_another_key_is_tried_soon() -> None:
    stage = Stage()
    finds(stage, "Unauthorized")
    life = await in_use(stage)
    await stage.settle(60)
    stage.relays.probes.clear()
    stage.secret("legacy-key", value="bmV3")
    await stage.settle(15)
    assert probed(stage) == ("True", "Answers")
    await life.end()


@in_virtual_time
async def test_a_restart_of_the_operator_tells_nothing_else() -> None:
    stage = Stage()
    finds(stage, "Unauthorized")
    life = await in_use(stage)
    await stage.settle(60)
    await life.end()
    again = await stage.operator()
    await stage.settle(9)
    assert [one for one in again.changes if one[0] == "Provider"] == []
    assert ready(stage) == ("False", "Unauthorized")
    await again.end()


@in_virtual_time
async def test_what_a_probe_finds_of_a_former_key_is_dropped() -> None:
    stage = Stage()
    stage.relays.probe_seconds = 8
    life = await in_use(stage)
    while not stage.relays.probed:
        await stage.settle(0.5)
    # the pod is asking with the key of before
    stage.secret("legacy-key", value="bmV3")
    await stage.settle(4)
    finds(stage, "Unauthorized")
    await stage.settle(5)
    assert probed(stage) == ("Unknown", "NotProbed")
    # two failures in a row, the first 10 s after the change
    await stage.settle(60)
    assert probed(stage) == ("False", "Unauthorized")
    assert ready(stage) == ("False", "Unauthorized")
    await life.end()


@in_virtual_time
async def test_a_key_that_was_mended_is_no_longer_blamed_although_no_pod_can_try_it() -> None:
    stage = Stage()
    finds(stage, "Unauthorized")
    life = await in_use(stage)
    await stage.settle(60)
    assert ready(stage) == ("False", "Unauthorized")
    stage.pod("relay-of-t0", tenant="t0", ready=False)
    stage.secret("legacy-key", value="bmV3")
    await stage.settle(30)
    assert probed(stage) == ("Unknown", "NotProbed")
    assert ready(stage) == ("True", "Configured")
    await life.end()


@pytest.mark.parametrize("seconds", [0, 2])
@in_virtual_time
async def test_a_provider_made_again_elsewhere_is_not_told_by_what_it_was(seconds: int) -> None:
    stage = Stage()
    life = await in_use(stage)
    await stage.settle(20)
    assert probed(stage) == ("True", "Answers")
    stage.server.remove("Provider", "legacy")
    await stage.settle(seconds)
    stage.provider("legacy", endpoint={"url": "https://elsewhere.example.com/v1"})
    asked = len(stage.relays.probed)
    # relays keep what it was until the route has moved by a canary
    await stage.settle(400)
    assert probed(stage) == ("Unknown", "NotProbed")
    assert len(stage.relays.probed) == asked
    await life.end()


@in_virtual_time
async def test_what_was_found_before_a_provider_went_out_of_use_does_not_come_back() -> None:
    stage = Stage()
    finds(stage, "Unauthorized")
    life = await in_use(stage)
    await stage.settle(60)
    stage.server.remove("RelayRoute", "chat", namespace="relay-t0")
    await stage.settle(60)
    assert probed(stage) == ("Unknown", "NotInUse")
    stage.relays.probes.clear()
    told = stage.events().count("Unauthorized")
    stage.route(tenant="t0")
    await stage.settle(5)
    assert probed(stage) == ("Unknown", "NotProbed")
    assert stage.events().count("Unauthorized") == told
    await stage.settle(30)
    assert probed(stage) == ("True", "Answers")
    await life.end()


async def streaming(stage: Stage, **wanted: str) -> Life:
    """Brings a tenant that uses legacy, of which streams are to be probed."""
    life = await in_use(stage, tenants=3)
    stage.provider("legacy", models=[{"name": "m"}], probeStream={"model": "m"} | wanted)
    return life


@in_virtual_time
async def test_streams_are_not_tried_unless_the_platform_asks_for_it() -> None:
    stage = Stage()
    life = await in_use(stage)
    await stage.settle(3600)
    assert stage.relays.asked_for_streams == []
    await life.end()


@in_virtual_time
async def test_a_stream_is_asked_for_as_often_as_the_platform_says_and_after_a_change() -> None:
    stage = Stage()
    life = await streaming(stage, every="1h")
    await stage.settle(30)
    assert [model for _, model in stage.relays.asked_for_streams] == ["m"]
    assert "it streams (m)" in stage.condition("Provider", "legacy", "Probed")["message"]
    await stage.settle(3500)
    assert len(stage.relays.asked_for_streams) == 1
    await stage.settle(500)
    assert len(stage.relays.asked_for_streams) == 2
    stage.secret("legacy-key", value="bmV3")
    await stage.settle(60)
    assert len(stage.relays.asked_for_streams) == 3
    await life.end()


@in_virtual_time
async def test_a_provider_that_does_not_stream_is_told_and_asked_again_at_a_bounded_cost() -> None:
    stage = Stage()
    message = (
        "provider legacy answered 200 to a small streamed call, and not with a stream of events"
    )
    failed = ProviderProbe(provider="legacy", outcome="NoStream", message=message, streamed=True)
    stage.relays.probes["legacy streams"] = failed
    life = await streaming(stage, every="2h")
    await stage.settle(30)
    assert probed(stage) == ("False", "NoStream")
    assert message in stage.condition("Provider", "legacy", "Probed")["message"]
    # calls without a stream are served
    assert ready(stage) == ("True", "Configured")
    await stage.settle(2700)
    assert 3 <= len(stage.relays.asked_for_streams) <= 4
    stage.relays.probes.clear()
    await stage.settle(1300)
    assert probed(stage) == ("True", "Answers")
    await life.end()
