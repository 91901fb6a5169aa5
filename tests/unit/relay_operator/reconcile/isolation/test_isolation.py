"""The operator measures whether tenants are kept apart, and hands out keys accordingly."""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.unit.relay_operator.network import Network
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SYSTEM
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.isolation_probe import (
    CONNECT_SECONDS,
    Outcome,
    ProbeAnswer,
    Target,
    TargetKind,
)
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.relays import Pod
from relay_operator.decisions.isolation.finding import Finding
from relay_operator.manifests.environment import Upstream
from relay_operator.reconcile.isolation.prober import Prober

HOST = "192.168.0.1"
OTHER_HOST = "192.168.0.2"


async def with_tenants(
    *names: str, hosts: dict[str, str] | None = None, **spec: Any
) -> tuple[Stage, Life]:
    """Starts an operator with these tenants, one pod each on its node, and a provider."""
    stage = Stage()
    life = await stage.operator()
    stage.provider("legacy")
    for number, name in enumerate(names):
        await add_tenant(stage, name, number=number, host=(hosts or {}).get(name, HOST), **spec)
    await stage.settle()
    return stage, life


async def add_tenant(
    stage: Stage, name: str, *, number: int = 0, host: str = HOST, **spec: Any
) -> None:
    stage.tenant(name, **spec)
    await stage.settle(0.3)
    ip = f"10.244.{number // 250}.{number % 250 + 10}"
    stage.pod(f"{name}-pod", tenant=name, ip=ip, host=host)


def isolated(stage: Stage, tenant: str = "finance") -> tuple[str, str]:
    found = stage.condition("Tenant", tenant, "Isolated")
    return found.get("status", ""), found.get("reason", "")


def ready(stage: Stage, tenant: str = "finance") -> tuple[str, str]:
    found = stage.condition("Tenant", tenant, "Ready")
    return found.get("status", ""), found.get("reason", "")


def keys(stage: Stage, tenant: str = "finance") -> set[str]:
    secret = stage.server.get("Secret", "relay-upstream", namespace=f"relay-{tenant}") or {}
    return set(secret.get("data", {}))


def route_is_ready(stage: Stage, tenant: str = "finance") -> bool:
    return stage.condition("RelayRoute", "chat", "Ready", tenant=tenant).get("status") == "True"


@in_virtual_time
async def test_a_tenant_is_ready_before_it_is_probed_and_gets_keys_after() -> None:
    stage, life = await with_tenants()
    await add_tenant(stage, "finance")
    await stage.settle(0.4)
    stage.route()
    await stage.settle(0.4)
    assert ready(stage) == ("True", "Available")
    assert isolated(stage) == ("Unknown", "NotProbed")
    assert keys(stage) == set()
    credentials = stage.condition("Tenant", "finance", "CredentialsReady")
    assert (credentials["status"], credentials["reason"]) == ("Unknown", "NotProbed")
    assert not route_is_ready(stage)
    await stage.settle(4)
    assert isolated(stage) == ("True", "Probed")
    assert keys(stage) == {"legacy"}
    assert route_is_ready(stage)
    # nobody is told of a wait that ends by itself
    assert set(stage.events()) <= {"Ready", "Started"}
    await life.end()


@in_virtual_time
async def test_on_a_network_without_enforcement_no_key_is_handed_out() -> None:
    stage, life = await with_tenants()
    stage.network.is_enforced = False
    await add_tenant(stage, "finance")
    stage.route()
    for _ in range(40):
        await stage.settle(0.5)
        assert keys(stage) == set()
    assert isolated(stage) == ("False", "NotEnforced")
    assert ready(stage) == ("False", "NotEnforced")
    assert stage.condition("Tenant", "finance", "Stalled")["status"] == "True"
    message = stage.condition("Tenant", "finance", "Ready")["message"]
    assert "10.244.0.2:8091" in message
    assert "network plugin" in message
    route = stage.condition("RelayRoute", "chat", "Ready", tenant="finance")
    assert "no key is handed out while the tenant is not isolated" in route["message"]
    stage.network.is_enforced = True
    await stage.settle(45)
    assert (isolated(stage), ready(stage)) == (("True", "Probed"), ("True", "Available"))
    assert keys(stage) == {"legacy"}
    assert route_is_ready(stage)
    await life.end()


@in_virtual_time
async def test_a_route_to_a_provider_without_a_key_lets_no_key_of_others_out() -> None:
    stage, life = await with_tenants()
    stage.network.is_enforced = False
    stage.provider("free")
    body = stage.server.stored("Provider", "free")
    without = {name: value for name, value in body["spec"].items() if name != "auth"}
    stage.server.put(body | {"spec": without})
    await stage.settle(1)
    stage.tenant("finance")
    await stage.settle(1)
    free = {"provider": "free", "model": "gpt-4.1"}
    stage.route("cheap", stable=free, match={"models": ["cheap"]})
    await stage.settle(3)
    in_force = stage.condition("RelayRoute", "cheap", "Accepted", tenant="finance")
    assert in_force["status"] == "True"
    stage.route()
    await stage.settle(3)
    assert (keys(stage), isolated(stage)) == (set(), ("Unknown", "NotProbed"))
    # one that is in force may come to need a key
    stage.provider("free")
    await stage.settle(3)
    assert keys(stage) == set()
    await add_tenant(stage, "finance")
    for _ in range(40):
        await stage.settle(0.5)
        assert keys(stage) == set()
    assert isolated(stage) == ("False", "NotEnforced")
    stage.network.is_enforced = True
    await stage.settle(60)
    assert keys(stage) == {"legacy", "free"}
    await life.end()


@in_virtual_time
async def test_the_platform_can_do_without_enforcement() -> None:
    stage = Stage()
    stage.isolation_is_required = False
    stage.network.is_enforced = False
    life = await stage.operator()
    stage.provider("legacy")
    await add_tenant(stage, "finance")
    stage.route()
    await stage.settle(20)
    assert isolated(stage) == ("False", "NotEnforced")
    assert ready(stage) == ("True", "Available")
    assert keys(stage) == {"legacy"}
    assert route_is_ready(stage)
    await life.end()


@in_virtual_time
async def test_enforcement_that_ends_is_noticed_within_a_minute_and_so_is_its_return() -> None:
    names = [f"t{number}" for number in range(12)]
    stage, life = await with_tenants(*names)
    await stage.settle(600)
    assert {isolated(stage, name) for name in names} == {("True", "Probed")}
    for _ in range(2):
        stage.network.is_enforced = False
        await stage.settle(60)
        assert {isolated(stage, name) for name in names} == {("False", "NotEnforced")}
        stage.network.is_enforced = True
        await stage.settle(60)
        assert {isolated(stage, name) for name in names} == {("True", "Probed")}
        # all of a node are looked at together once in a while, which a relay that lies could cause
        await stage.settle(300)
    await life.end()


@in_virtual_time
async def test_one_node_that_does_not_enforce_is_told_apart_from_others() -> None:
    hosts = {"a": HOST, "b": OTHER_HOST}
    stage, life = await with_tenants("a", "b", hosts=hosts)
    stage.network.unenforced_on.add(OTHER_HOST)
    await stage.settle(60)
    assert (isolated(stage, "a")[0], isolated(stage, "b")[0]) == ("True", "False")
    await life.end()


@in_virtual_time
async def test_pods_that_run_keep_their_calls_and_nothing_new_is_handed_out() -> None:
    stage, life = await with_tenants("finance")
    stage.route()
    await stage.settle()
    assert keys(stage) == {"legacy"}
    stage.network.is_enforced = False
    await stage.settle(60)
    assert keys(stage) == set()
    [document] = stage.relays.documents.values()
    assert [route.name for route in document.tenant.routes] == ["chat"]
    assert not document.tenant.suspended
    await life.end()


@in_virtual_time
async def test_a_leak_of_one_tenant_is_its_own() -> None:
    stage, life = await with_tenants("a", "b", "c")
    for kind in (TargetKind.API_SERVER, TargetKind.NEIGHBOUR):
        stage.network.leaks = {"b-pod": {kind}}
        await stage.settle(90)
        assert isolated(stage, "b")[0] == "False"
        assert (isolated(stage, "a")[0], isolated(stage, "c")[0]) == ("True", "True")
        stage.network.leaks = {}
        await stage.settle(60)
        assert isolated(stage, "b")[0] == "True"
    stage.network.open_ports.add("b-pod")
    await stage.settle(90)
    assert isolated(stage, "b") == ("False", "NotEnforced")
    assert "is reached by the operator" in stage.condition("Tenant", "b", "Isolated")["message"]
    await life.end()


@in_virtual_time
async def test_a_change_of_policies_or_pods_is_followed_by_a_probe() -> None:
    stage, life = await with_tenants("finance", "web")
    await stage.settle(100)

    async def is_probed_soon() -> bool:
        before = len(stage.network.asked)
        await stage.settle(2)
        return "finance-pod" in {name for name, _ in stage.network.asked[before:]}

    stage.tenant("finance", network={"allowFrom": [{"namespace": "web"}]})
    assert await is_probed_soon()
    stage.provider("new", endpoint={"url": "https://new.example.com:8443/v1"})
    stage.route(stable={"provider": "new"})
    assert await is_probed_soon()
    policy = stage.server.stored("NetworkPolicy", "relay", namespace="relay-finance")
    stage.server.put({**policy, "spec": {**policy["spec"], "egress": [{}]}})
    assert await is_probed_soon()
    stage.pod("finance-new", tenant="finance", ip="10.244.9.9")
    before = len(stage.network.asked)
    await stage.settle(2)
    assert "finance-new" in {name for name, _ in stage.network.asked[before:]}
    await life.end()


@in_virtual_time
async def test_a_change_during_a_probe_is_followed_by_another() -> None:
    stage, life = await with_tenants("finance")
    await stage.settle(3)
    before = len(stage.network.asked)
    stage.pod("finance-new", tenant="finance", ip="10.244.9.9")
    while "finance-new" not in {name for name, _ in stage.network.asked[before:]}:
        await stage.settle(0.05)
    seen = len(stage.network.asked)
    # the round takes a second
    stage.tenant("finance", network={"allowFrom": [{"namespace": "web"}]})
    await stage.settle(3)
    assert len(stage.network.asked) >= seen + 2
    await life.end()


@in_virtual_time
async def test_a_spec_that_never_rests_is_probed_all_the_same() -> None:
    stage, life = await with_tenants("finance")
    await stage.settle(30)
    before = len(stage.network.asked)
    for number in range(60):
        stage.tenant("finance", network={"allowFrom": [{"namespace": f"web-{number}"}]})
        await stage.settle(0.1)
    # a probe takes a second
    assert 2 <= len(stage.network.asked) - before <= 8, len(stage.network.asked) - before
    await life.end()


@in_virtual_time
async def test_a_silent_relay_costs_its_own_tenant_alone() -> None:
    stage, life = await with_tenants()
    stage.relays.silent.add("mute-pod")
    # it answers no pushes either, so it is never Ready; its keys wait for nothing
    await add_tenant(stage, "mute", number=1)
    await add_tenant(stage, "finance", number=2)
    await stage.settle(30)
    assert isolated(stage, "finance") == ("True", "Probed")
    assert isolated(stage, "mute") == ("Unknown", "ProbeFailed")
    assert "mute-pod" in stage.condition("Tenant", "mute", "Isolated")["message"]
    asked = [at for name, at in stage.network.asked if name == "mute-pod"]
    await stage.settle(1200)
    later = [at for name, at in stage.network.asked if name == "mute-pod"][len(asked) :]
    # on its node there are two tenants, one of which is probed every twenty seconds
    assert len(later) <= 1200 / 40 + 5
    await life.end()


@in_virtual_time
async def test_a_relay_that_cannot_be_judged_gets_its_keys() -> None:
    stage, life = await with_tenants()
    stage.network.gone.add(TargetKind.DECOY)
    await add_tenant(stage, "finance")
    stage.route()
    await stage.settle(15)
    assert isolated(stage) == ("Unknown", "Unverified")
    assert ready(stage) == ("True", "Available")
    assert keys(stage) == {"legacy"}
    await life.end()


@in_virtual_time
async def test_a_network_that_stays_slow_proves_nothing_and_takes_no_key() -> None:
    stage, life = await with_tenants("finance")
    assert isolated(stage) == ("True", "Probed")
    stage.network.seconds = CONNECT_SECONDS * 0.8
    await stage.settle(40)
    assert isolated(stage) == ("True", "Probed")
    await stage.settle(60)
    assert isolated(stage) == ("Unknown", "Unverified")
    assert ready(stage) == ("True", "Available")
    await add_tenant(stage, "late", number=5)
    await stage.settle(20)
    assert isolated(stage, "late") == ("Unknown", "Unverified")
    await life.end()


@in_virtual_time
async def test_a_relay_that_lies_harms_its_own_tenant_alone() -> None:
    stage, life = await with_tenants("finance", "liar", "web")
    stage.network.lies["liar-pod"] = Outcome.CONNECTED
    await stage.settle(120)
    assert isolated(stage, "liar") == ("False", "NotEnforced")
    assert (isolated(stage, "finance")[0], isolated(stage, "web")[0]) == ("True", "True")
    before = [name for name, _ in stage.network.asked]
    await stage.settle(600)
    after = [name for name, _ in stage.network.asked][len(before) :]
    assert after.count("finance-pod") < 20
    # what it denies, the decoy has seen
    stage.network.lies["liar-pod"] = Outcome.NO_ANSWER
    await stage.settle(60)
    assert isolated(stage, "liar") == ("True", "Probed")
    stage.network.leaks = {"liar-pod": {TargetKind.DECOY}}
    await stage.settle(120)
    assert isolated(stage, "liar") == ("False", "NotEnforced")
    await life.end()


@in_virtual_time
async def test_a_network_that_lets_nothing_through_is_no_sign_of_exposure() -> None:
    stage, life = await with_tenants("finance")
    stage.route()
    await stage.settle()
    stage.relays.silent.add("finance-pod")
    stage.network.gone |= set(TargetKind)
    await stage.settle(90)
    assert isolated(stage) == ("Unknown", "ProbeFailed")
    assert keys(stage) == {"legacy"}
    stage.relays.silent.clear()
    stage.network.gone = {TargetKind.METADATA}
    await stage.settle(60)
    assert isolated(stage) == ("True", "Probed")
    await life.end()


@in_virtual_time
async def test_whom_allow_from_lets_in_is_no_sign() -> None:
    network = {"allowFrom": [{"namespace": SYSTEM}]}
    stage, life = await with_tenants("finance", network=network)
    stage.network.open_ports.add("finance-pod")
    await stage.settle(90)
    assert isolated(stage) == ("True", "Probed")
    await life.end()


@in_virtual_time
async def test_a_restarted_operator_goes_on_from_what_it_told() -> None:
    stage, life = await with_tenants("finance")
    stage.route()
    await stage.settle()
    await life.end()
    written = keys(stage)
    stage.relays.silent.add("finance-pod")
    next_life = await stage.operator()
    for _ in range(20):
        await stage.settle(0.5)
        assert keys(stage) == written == {"legacy"}
        assert isolated(stage) == ("True", "Probed")
    await next_life.end()


@in_virtual_time
async def test_a_restarted_operator_probes_whom_it_told_isolated_in_turn() -> None:
    names = [f"t{number}" for number in range(40)]
    stage, life = await with_tenants(*names)
    await stage.settle(60)
    await life.end()
    before, began = len(stage.network.asked), stage.clock.now
    next_life = await stage.operator()
    await stage.settle(70)
    asked = stage.network.asked[before:]
    assert {name for name, _ in asked} == {f"{name}-pod" for name in names}
    for second in range(0, 60, 10):
        # two in three seconds, not all at random in step, and one of the node every twenty
        within = [name for name, at in asked if 0 <= at - began - second < 10]
        assert len(within) <= 2 * 10
    await next_life.end()


@in_virtual_time
async def test_a_restarted_operator_probes_nodes_in_the_order_in_which_tenants_have_their_turns() -> (
    None
):
    """So that most have been probed by their node's turn when their own comes."""
    names = [f"t{number}" for number in range(12)]
    stage, life = await with_tenants(*names)
    await stage.settle(60)
    await life.end()
    next_life = await stage.operator()
    await stage.settle(0.2)
    there = next_life.watched_state.directory.on(HOST)
    assert sorted(there) == sorted(f"relay-{name}" for name in names)
    due = [next_life.isolation.of(space).due_at for space in there]
    assert due == sorted(due)
    assert len(set(due)) == len(names)
    await next_life.end()


@in_virtual_time
async def test_after_an_upgrade_relays_that_do_not_probe_keep_what_they_have() -> None:
    stage, life = await with_tenants("finance")
    stage.route()
    await stage.settle()
    await life.end()
    tenant = stage.server.stored("Tenant", "finance")
    told = [one for one in tenant["status"]["conditions"] if one["type"] != "Isolated"]
    stage.server.put({**tenant, "status": {**tenant["status"], "conditions": told}})
    stage.relays.silent.add("finance-pod")
    next_life = await stage.operator()
    for _ in range(40):
        await stage.settle(0.5)
        assert keys(stage) == {"legacy"}
    assert isolated(stage) == ("Unknown", "ProbeFailed")
    await next_life.end()


@in_virtual_time
async def test_every_tenant_has_its_turn_and_few_are_probed_at_once() -> None:
    names = [f"t{number}" for number in range(24)]
    stage, life = await with_tenants(*names)
    await stage.settle(60)
    assert {isolated(stage, name) for name in names} == {("True", "Probed")}
    assert stage.network.most_at_once <= 8
    before = len(stage.network.asked)
    await stage.settle(1000)
    again = [name for name, _ in stage.network.asked[before:]]
    assert set(again) == {f"{name}-pod" for name in names}
    # and not all in the same moment
    moments = {int(at) // 30 for _, at in stage.network.asked[before:]}
    assert len(moments) > 20
    await life.end()


@in_virtual_time
async def test_a_tenant_that_is_gone_leaves_no_record() -> None:
    stage, life = await with_tenants("finance", "web")
    await stage.settle(5)
    stage.server.remove("Tenant", "finance")
    # its keys are refused first
    await stage.settle(5)
    stage.server.collect_garbage()
    await stage.settle(2)
    stage.network.is_enforced = False
    await add_tenant(stage, "finance", number=7)
    for _ in range(40):
        await stage.settle(0.5)
        assert isolated(stage)[0] != "True"
    assert isolated(stage) == ("False", "NotEnforced")
    await life.end()


@in_virtual_time
async def test_what_nobody_expected_of_one_pod_costs_its_own_tenant_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, life = await with_tenants("a", "b")
    ask = Network.ask

    async def asked(
        self: Network, pod: Pod, tenant_uid: str, targets: tuple[Target, ...]
    ) -> ProbeAnswer:
        answer = await ask(self, pod, tenant_uid, targets)
        if pod.name == "b-pod":
            raise ValueError("no address")
        return answer

    monkeypatch.setattr(Network, "ask", asked)
    await stage.settle(1000)
    assert (isolated(stage, "a"), isolated(stage, "b")[0]) == (("True", "Probed"), "Unknown")
    assert (
        "its answer could not be read (ValueError)"
        in stage.condition("Tenant", "b", "Isolated")["message"]
    )
    monkeypatch.undo()
    await stage.settle(400)
    assert isolated(stage, "b") == ("True", "Probed")
    await life.end()


@in_virtual_time
async def test_a_round_that_fails_is_followed_by_another_and_ends_no_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, life = await with_tenants("a", "b")
    await stage.settle(30)
    rounds: list[str] = []
    probe = Prober.probe

    async def probed(
        self: Prober, tenant: Tenant, pods: Sequence[Pod], upstreams: Sequence[Upstream]
    ) -> Finding:
        rounds.append(tenant.metadata.name)
        if tenant.metadata.name == "b":
            raise ValueError("no round")
        return await probe(self, tenant, pods, upstreams)

    monkeypatch.setattr(Prober, "probe", probed)
    await stage.settle(600)
    assert 10 <= rounds.count("b") <= 60
    assert rounds.count("a") >= 5
    monkeypatch.undo()
    stage.network.is_enforced = False
    await stage.settle(60)
    assert isolated(stage, "b")[0] == "False"
    await life.end()
