"""The age of a watch is the time since its connection last brought anything."""

from dataclasses import dataclass

from prometheus_client import REGISTRY

from relay_operator.cluster.metrics.watch_ages import WatchAges


@dataclass(slots=True)
class Body:
    total_bytes: int = 0


def shown() -> dict[str, float]:
    """Returns the ages that a scrape has."""
    return {
        sample.labels["watch"]: sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "relay_operator_watch_age_seconds"
    }


def test_an_age_begins_anew_with_each_byte() -> None:
    ages, body = WatchAges(), Body()
    ages.begin(["pods"], now=100)
    ages.opened("pods", body, now=101)
    ages.sample(150)
    assert shown() == {"pods": 50}
    body.total_bytes += 80
    ages.sample(151)
    assert shown() == {"pods": 0}
    ages.sample(161)
    assert shown() == {"pods": 10}


def test_a_watch_that_never_opens_grows_old_too() -> None:
    ages = WatchAges()
    ages.begin(["tenants"], now=100)
    ages.sample(400)
    assert list(ages.silent(300, now=400)) == ["tenants"]
    assert ages.age("tenants", now=400) == 300


def test_a_new_connection_makes_no_watch_younger() -> None:
    ages = WatchAges()
    ages.begin(["pods"], now=0)
    for now in range(70, 400, 70):
        # as long as the last one, whose bytes are of no account
        ages.opened("pods", Body(), now=now)
    assert ages.age("pods", now=400) == 400


def test_what_came_just_before_a_new_connection_counts() -> None:
    ages, first = WatchAges(), Body()
    ages.begin(["pods"], now=0)
    ages.opened("pods", first, now=1)
    first.total_bytes = 80
    ages.opened("pods", Body(), now=60)
    assert ages.age("pods", now=61) == 1


def test_another_life_forgets_the_watches_of_the_last() -> None:
    ages = WatchAges()
    ages.begin(["pods"], now=0)
    ages.opened("secrets/relay-api-keys", Body(), now=10)
    ages.begin(["pods"], now=500)
    assert shown() == {"pods": 0}
    assert list(ages.silent(1, now=500)) == []
