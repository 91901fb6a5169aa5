"""Canaries on the real cluster: bad ones, decided ones, and healthy ones while Prometheus or the operator fail.

All stories of an act are played at the same time in one cluster; each test then looks at the end of one. An act has the stories
of the tests that were chosen, and of later acts that go on with them.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping

import pytest
from tests.cluster.session.fixtures import tell
from tests.cluster.session.provider import Provider
from tests.demo import stage
from tests.demo.commands import Cluster
from tests.e2e.canaries import cut_off, interruptions, outages, world
from tests.e2e.canaries.breaches import BREACHES, is_rolled_back
from tests.e2e.canaries.decisions import DECISIONS
from tests.e2e.canaries.examples import EXAMPLES
from tests.e2e.canaries.playing import Result, Script, play
from tests.e2e.canaries.scene import STABLE, Scene
from tests.e2e.canaries.shadows import SHADOWS
from tests.e2e.canaries.world import World

pytestmark = pytest.mark.timeout(900)

PLAYS = "plays"
CUT_OFF = "cut-off"
AWAY = ("dead-away", "healthy-away")
LOW_RATE = 3.0
TOLD = DECISIONS | SHADOWS | EXAMPLES


def _dying(fault: str) -> str:
    return f"dies-{fault}"


NAMES = [
    *BREACHES,
    *TOLD,
    *(more for story in TOLD.values() for more in story.more_providers),
    *interruptions.PHASES,
    interruptions.MOVING,
    *AWAY,
    outages.CLIMBING,
    *(_dying(fault) for fault in outages.OUTAGES),
    CUT_OFF,
]


@pytest.fixture(scope="module")
def plays(
    staged: Cluster, cluster_provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Creates the tenants and a provider for every story."""
    with world.created(
        staged,
        tmp_path_factory.mktemp("kubectl"),
        providers=[STABLE, *NAMES],
        tenants={PLAYS: 2, cut_off.TENANT: 2} if cluster_provider.embedded else {PLAYS: 2},
        dns_cidrs=stage.dns_server_cidrs(staged),
    ) as made:
        yield made


class Acts:
    """Plays acts, and keeps the scenes of all stories and how those ended."""

    def __init__(self, plays: World, config: pytest.Config) -> None:
        self.world = plays
        self.scenes: dict[str, Scene] = {}
        self.results: dict[str, Result] = {}
        self._config = config
        self._lanes: dict[str, dict[str, object]] = {}

    def scene(self, name: str, *, tenant: str = PLAYS) -> Scene:
        """Returns the scene of a story, made at the first call."""
        return self.scenes.setdefault(name, Scene(self.world, name, tenant))

    def call(self, name: str, *, rate: float = 8.0, stream_percent: int = 50) -> None:
        """Adds a story's application to those that call."""
        tenant = self.scene(name).tenant
        self._lanes[name] = self.world.lane(tenant, name, rate=rate, stream_percent=stream_percent)

    def quiet(self, *names: str) -> None:
        """Ends applications of stories that are over."""
        for name in names:
            self._lanes.pop(name, None)

    def play(
        self, title: str, scripts: Mapping[str, Script], *, quiet: Collection[str] = ()
    ) -> None:
        """Plays these stories at the same time. Applications of those in quiet end with their stories."""
        self.world.crowd.set_lanes(self._lanes)
        began = time.monotonic()

        def end(name: str) -> None:
            if name in quiet:
                self.quiet(name)
                self.world.crowd.set_lanes(self._lanes)

        results = play(scripts, ended=end)
        self.results |= results
        last = max(results, key=lambda name: results[name].seconds)
        seconds = time.monotonic() - began
        self.say(f"{title}: {len(scripts)} stories in {seconds:.0f} s, the last of them {last}")
        for name, result in results.items():
            if result.error is not None:
                self.say(f"  {name}: {result.error}")

    def ended_well(self, name: str) -> None:
        """Prints what a story showed; raises what went wrong."""
        for figure in self.scene(name).figures:
            self.say(f"  {name}: {figure}")
        self.results[name].check()

    def say(self, line: str) -> None:
        tell(self._config, line)


@pytest.fixture(scope="module")
def acts(plays: World, request: pytest.FixtureRequest) -> Acts:
    return Acts(plays, request.config)


# -- first act: everything that goes by itself ------------------------------------------------------------------------


class Chosen:
    """What the chosen tests of this file look at: their parameters, and the fixtures that they use."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        items = [item for item in request.session.items if item.path == request.path]
        self._tests = [item for item in items if isinstance(item, pytest.Function)]

    def has(self, name: str) -> bool:
        """Returns whether a test has this parameter."""
        parameters = [getattr(test, "callspec", None) for test in self._tests]
        return any(one is not None and name in one.params.values() for one in parameters)

    def plays(self, act: str) -> bool:
        """Returns whether a test uses this fixture."""
        return any(act in test.fixturenames for test in self._tests)

    def looks(self, test: Callable[..., None]) -> bool:
        """Returns whether this test is one of them."""
        return any(one.function is test for one in self._tests)


@pytest.fixture(scope="module")
def chosen(request: pytest.FixtureRequest) -> Chosen:
    return Chosen(request)


@pytest.fixture(scope="module")
def first(acts: Acts, chosen: Chosen, cluster_provider: Provider) -> Acts:
    scripts: dict[str, Script] = {}
    for name, breach in BREACHES.items():
        if chosen.has(name):
            scripts[name] = is_rolled_back(acts.scene(name), breach)
            acts.call(name, rate=breach.rate, stream_percent=breach.stream_percent)
    for name, story in TOLD.items():
        if chosen.has(name):
            scripts[name] = story.script(acts.scene(name))
            acts.call(name, rate=story.rate, stream_percent=story.stream_percent)
    for name, standing in interruptions.PHASES.items():
        if chosen.plays("third"):
            scripts[name] = standing(acts.scene(name))
            acts.call(name, rate=LOW_RATE)
    if cluster_provider.embedded and chosen.looks(
        test_a_pod_that_the_operator_cannot_reach_is_rolled_back_too
    ):
        scene = acts.scene(CUT_OFF, tenant=cut_off.TENANT)
        scripts[CUT_OFF] = cut_off.is_rolled_back_by_its_mount(scene)
        acts.call(CUT_OFF, rate=20.0)
    acts.play("first act", scripts, quiet=(*BREACHES, *TOLD, CUT_OFF))
    return acts


@pytest.mark.parametrize("name", BREACHES)
def test_a_bad_canary_is_rolled_back(first: Acts, name: str) -> None:
    first.ended_well(name)


@pytest.mark.parametrize("name", DECISIONS)
def test_a_canary_is_decided_on(first: Acts, name: str) -> None:
    first.ended_well(name)


@pytest.mark.parametrize("name", SHADOWS)
def test_a_canary_is_shadowed_before_it_has_weight(first: Acts, name: str) -> None:
    first.ended_well(name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_its_page_says(first: Acts, name: str) -> None:
    first.ended_well(name)


@pytest.mark.embedded_only
def test_a_pod_that_the_operator_cannot_reach_is_rolled_back_too(first: Acts) -> None:
    first.ended_well(CUT_OFF)


# -- second act: Prometheus fails ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second(first: Acts, chosen: Chosen) -> Acts:
    climbing = first.scene(outages.CLIMBING)
    scripts = {outages.CLIMBING: outages.begins_to_climb(climbing)}
    first.call(outages.CLIMBING, rate=30.0)
    for fault in filter(chosen.has, outages.OUTAGES):
        name = _dying(fault)
        scripts[name] = outages.waits_for_its_death(first.scene(name))
        first.call(name, rate=8.0)
    first.play("before the second act", scripts)
    return first


@pytest.mark.parametrize("fault", outages.OUTAGES)
def test_prometheus_fails_and_a_canary_neither_rises_nor_falls(second: Acts, fault: str) -> None:
    name = _dying(fault)
    climbing, dying = second.scene(outages.CLIMBING), second.scene(name)
    climbing.figures.clear()
    second.ended_well(outages.CLIMBING)
    second.ended_well(name)
    script = outages.goes_on_after(climbing, dying, outages.OUTAGES[fault])
    second.play(f"Prometheus: {fault}", {fault: script})
    for figure in climbing.figures:
        second.say(f"  {figure}")
    second.results[fault].check()


# -- third act: the operator fails --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def third(first: Acts) -> Callable[[str], None]:
    """Interrupts the operators in every way; returns the check of one story."""
    first.quiet(outages.CLIMBING, *(_dying(fault) for fault in outages.OUTAGES))
    moving = first.scene(interruptions.MOVING)
    first.call(interruptions.MOVING, rate=20.0)
    scripts = {interruptions.MOVING: interruptions.moves(moving)}
    for name in AWAY:
        scripts[name] = interruptions.waits_for_its_death(first.scene(name))
        first.call(name)
    first.play("before the third act", scripts)
    for name in scripts:
        first.results[name].check()
    standing = {name: first.scene(name) for name in interruptions.PHASES}
    before = {
        name: interruptions.position(scene)
        for name, scene in standing.items()
        if first.results[name].error is None
    }
    since = time.monotonic()
    interruptions.interrupt(first.world.cluster, first.say)
    # as long as it takes to read Prometheus again, to judge and to write a status
    time.sleep(8)

    def check(name: str) -> None:
        if name == interruptions.MOVING:
            interruptions.climbed_by_its_steps(moving, since)
        else:
            first.ended_well(name)
            interruptions.stays_where_it_is(standing[name], before[name], since)

    return check


@pytest.mark.parametrize("name", [*interruptions.PHASES, interruptions.MOVING])
def test_an_interrupted_operator_decides_nothing(
    third: Callable[[str], None], acts: Acts, name: str
) -> None:
    third(name)
    for figure in acts.scene(name).figures:
        acts.say(f"  {name}: {figure}")


def test_without_an_operator_breakers_protect_and_weights_stay(
    third: Callable[[str], None], acts: Acts
) -> None:
    dead, healthy = (acts.scene(name) for name in AWAY)
    interruptions.scale(acts.world.cluster, 0)
    try:
        acts.play("without an operator", {AWAY[0]: interruptions.is_protected_by_its_breaker(dead)})
        healthy.patch(canary=healthy.canary(step=50, every="1s"))
        before = healthy.weight
    finally:
        interruptions.scale(acts.world.cluster, interruptions.REPLICAS)
    acts.ended_well(AWAY[0])
    dead.figures.clear()
    scripts = {
        AWAY[0]: interruptions.is_rolled_back_on_return(dead),
        AWAY[1]: interruptions.resumes(healthy, before),
    }
    acts.play("with an operator again", scripts)
    for name in AWAY:
        acts.ended_well(name)
