"""The directory of relay pods holds what a look at all of them would find, and looks at those alone that changed."""

from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay_operator.discovered import discovered

from relay_operator.cluster.discovery.targets import ALL, Targets, targets
from relay_operator.cluster.relays import Pod
from relay_operator.reconcile.fleet.relay_directory import RelayDirectory, turn
from relay_operator.reconcile.watched_state import WatchedState

NAMES = ("a", "b", "c")
HOSTS = ("10.1.0.1", "10.1.0.2")


def a_pod(tenant: str, number: int, *, host: str = HOSTS[0], ready: bool = True) -> Pod:
    return Pod(
        namespace=f"relay-{tenant}",
        name=f"relay-{number}",
        uid=f"{tenant}-{number}",
        ip=f"10.0.{number}.1",
        incarnation=0,
        ready=ready,
        terminating=False,
        host_ip=host,
    )


class CountedFleet:
    """A fleet all of which is owned; counts how often each namespace is looked at."""

    def __init__(self, *pods: Pod) -> None:
        self.pods: dict[str, tuple[Pod, ...]] = {}
        self.looks: Counter[str] = Counter()
        for pod in pods:
            self.pods[pod.namespace] = (*self.pods.get(pod.namespace, ()), pod)

    def owns(self, namespace: str) -> bool:
        self.looks[namespace] += 1
        return True

    def relay_pods(self, namespace: str) -> tuple[Pod, ...]:
        self.looks[namespace] += 1
        return self.pods.get(namespace, ())


def a_large_fleet(tenants: int = 2000) -> tuple[CountedFleet, RelayDirectory]:
    fleet = CountedFleet(
        *(a_pod(f"t{number}", 1, host=f"10.1.0.{number % 50}") for number in range(tenants))
    )
    directory = RelayDirectory(fleet)
    for namespace in fleet.pods:
        directory.note(namespace)
    directory.settle()
    fleet.looks.clear()
    return fleet, directory


STEPS = st.one_of(
    st.tuples(
        st.just("pod"),
        st.sampled_from(NAMES),
        st.integers(0, 2),
        st.sampled_from(HOSTS),
        st.booleans(),
    ),
    st.tuples(st.just("no pod"), st.sampled_from(NAMES), st.integers(0, 2)),
    st.tuples(st.just("owned"), st.sampled_from(NAMES), st.booleans()),
    st.tuples(st.just("tenant"), st.sampled_from(NAMES), st.sampled_from(("True", "False"))),
    st.tuples(st.just("no tenant"), st.sampled_from(NAMES)),
)


def take(state: WatchedState, step: tuple[str, ...]) -> None:
    match step:
        case ("pod", tenant, number, host, ready):
            state.pods.keep(a_pod(tenant, int(number), host=host, ready=bool(ready)))
        case ("no pod", tenant, number):
            gone = {"metadata": {"namespace": f"relay-{tenant}", "uid": f"{tenant}-{number}"}}
            state.take_in_pod(gone, deleted=True)
        case ("owned", tenant, owned):
            state.note_owned(f"relay-{tenant}", bool(owned))
        case ("tenant", tenant, told):
            condition = {"type": "NamespaceReady", "status": told}
            metadata = {"name": tenant, "uid": f"uid-{tenant}"}
            body = {"metadata": metadata, "spec": {}, "status": {"conditions": [condition]}}
            state.tenants.store(body)
        case ("no tenant", tenant):
            body = {"metadata": {"name": tenant, "uid": f"uid-{tenant}"}}
            if state.tenants.take_in(body, deleted=True):
                state.forget(f"relay-{tenant}")


@given(st.lists(STEPS, max_size=25), st.sets(st.integers(0, 24)))
def test_it_holds_what_a_look_at_everything_would_find(
    steps: list[tuple[str, ...]], asked_after: set[int]
) -> None:
    state = WatchedState()
    for number, step in enumerate(steps):
        take(state, step)
        if number in asked_after:
            state.directory.settle()
    owned = {f"relay-{name}" for name in NAMES if state.owns(f"relay-{name}")}
    pods = [pod for space in owned for pod in state.relay_pods(space)]
    assert set(state.directory.namespaces()) == {pod.namespace for pod in pods}
    assert sorted(discovered(state)) == sorted(f"{pod.namespace}/{pod.name}" for pod in pods)
    assert discovered(state) == sorted(discovered(state))
    for host in HOSTS:
        there = sorted({pod.namespace for pod in pods if pod.host_ip == host}, key=turn)
        assert list(state.directory.on(host)) == there
        assert (host in state.directory.hosts()) == bool(there)
    serving = {pod.namespace for pod in pods if pod.ready}
    drawn = [pod.namespace for pod in state.directory.draw(3, but="relay-a")]
    assert sorted(drawn) == sorted(serving - {"relay-a"})


def looks_of(question: Callable[[RelayDirectory], object]) -> int:
    fleet, directory = a_large_fleet()
    question(directory)
    return fleet.looks.total()


def test_no_answer_costs_a_look_at_all_tenants() -> None:
    assert looks_of(lambda directory: directory.targets.answer(ALL)) == 0
    assert looks_of(lambda directory: directory.hosts()) == 0
    assert looks_of(lambda directory: directory.on("10.1.0.7")) == 0
    assert looks_of(lambda directory: directory.next_on("10.1.0.7", after="relay-t57")) == 0
    assert looks_of(lambda directory: directory.draw(2, but="relay-t1")) <= 16


def test_a_pod_that_changes_costs_the_look_at_its_tenant_alone() -> None:
    fleet, directory = a_large_fleet()
    fleet.pods["relay-t5"] = (a_pod("t5", 1, host="10.1.0.99"),)
    directory.note("relay-t5")
    assert directory.on("10.1.0.99") == ("relay-t5",)
    assert "relay-t5" not in directory.on("10.1.0.5")
    assert set(fleet.looks) == {"relay-t5"}


def test_the_tenants_of_a_node_take_turns() -> None:
    _, directory = a_large_fleet(150)
    turns, last = [], ""
    for _ in range(4):
        last = directory.next_on("10.1.0.7", after=last)
        turns.append(last)
    there = sorted(("relay-t7", "relay-t57", "relay-t107"), key=turn)
    assert turns == [*there, there[0]]


def test_an_answer_is_written_once_until_something_changes() -> None:
    kept = Targets()
    kept.put("relay-b", [a_pod("b", 2), a_pod("b", 1)])
    kept.put("relay-a", [a_pod("a", 1)])
    first = kept.answer(ALL)
    assert kept.answer(ALL) is first
    kept.put("relay-b", [])
    assert kept.answer(ALL) != first
    assert targets([a_pod("a", 1)], ALL)[0]["labels"]["tenant"] == "a"
