"""The room that is counted as taken is that which a look at everything finds, whatever changes and in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from relay_contract import document
from relay_operator.decisions.route_acceptance import Surroundings
from relay_operator.manifests import document_size
from relay_operator.manifests.environment import Upstream
from relay_operator.reconcile.publishing import route_room
from relay_operator.reconcile.publishing.contents import Contents
from relay_operator.reconcile.publishing.demand import Demand
from relay_operator.reconcile.watched_state import WatchedState

SPACE = "relay-a"
NAMES = tuple("abcd")
HALF = "m" * 100

a_change = st.one_of(
    st.tuples(st.just("spec"), st.sampled_from(NAMES), st.integers(0, 4), st.sampled_from("pq")),
    st.tuples(st.just("gone"), st.sampled_from(NAMES)),
    st.tuples(
        st.just("in force"), st.sampled_from(NAMES), st.integers(0, 4), st.sampled_from("pq")
    ),
    st.tuples(st.just("out of force"), st.sampled_from(NAMES)),
    st.tuples(st.just("provider"), st.sampled_from("pq"), st.integers(0, 4)),
    st.tuples(st.just("look")),
)


def models(number: int) -> list[str]:
    """Returns that many models, of a hundred bytes each."""
    return [f"{n}{HALF}" for n in range(number)]


class Tenant:
    """What is watched and what is in force of one tenant."""

    def __init__(self) -> None:
        self.watched_state = WatchedState()
        self.contents = Contents(SPACE)
        self.generation = 0
        for name in "pq":
            self.provider(name, 0)
            self.watched_state.resolve(name, Upstream(provider=name, port=443))

    def provider(self, name: str, number: int) -> None:
        self.generation += 1
        metadata = {"name": name, "uid": name, "generation": self.generation}
        spec = {
            "endpoint": {"url": "https://p.example.com/v1"},
            "models": [{"name": one} for one in models(number)],
        }
        self.watched_state.providers.store({"metadata": metadata, "spec": spec})

    def route(self, name: str, number: int, provider: str, *, gone: bool = False) -> None:
        self.generation += 1
        metadata = {
            "name": name,
            "namespace": SPACE,
            "uid": name,
            "generation": self.generation,
        }
        spec = {"stable": {"provider": provider}, "match": {"models": models(number)}}
        body = {"metadata": metadata, "spec": spec}
        self.watched_state.take_in_route(body, deleted=gone)

    def change(self, what: str, *how: object) -> None:
        match what, *how:
            case "spec", str(name), int(number), str(provider):
                self.route(name, number, provider)
            case "gone", str(name):
                self.route(name, 0, "p", gone=True)
            case "in force", str(name), int(number), str(provider):
                side = document.Side(provider=provider, fingerprint="0" * 12)
                match = document.Match(models=tuple(models(number)))
                self.contents.put(document.Route(name=name, stable=side, match=match))
                part = self.contents.part(self.watched_state.providers.valid()[provider], share=1)
                self.contents.put_provider(part)
            case "out of force", str(name):
                self.contents.drop(name)
            case "provider", str(name), int(number):
                self.provider(name, number)

    @property
    def around(self) -> Surroundings:
        return route_room.common(SPACE, frozenset("pq"), self.watched_state)


@given(st.lists(a_change, max_size=30), st.integers(800, 3000))
def test_demand_is_kept_up(changes: list[tuple[object, ...]], most: int) -> None:
    tenant, demand = Tenant(), Demand()
    whole = document_size.MOST_BYTES
    document_size.MOST_BYTES = most
    try:
        for what, *how in [*changes, ("look",)]:
            tenant.change(str(what), *how)
            if what == "look":
                found = demand.is_scarce(tenant.contents, tenant.around, tenant.watched_state)
                anew = Contents(SPACE, tenant.contents.fragments.values())
                for part in tenant.contents.providers.values():
                    anew.put_provider(part)
                assert found is Demand().is_scarce(anew, tenant.around, tenant.watched_state)
    finally:
        document_size.MOST_BYTES = whole
