"""The open breakers of all workers, and those who wait to hear of a change."""

import asyncio

from relay.process.pod_state.open_breakers import OpenBreakers

CHAT = ("uid", "chat", "f1")
CODE = ("uid", "code", "f2")


def test_the_worker_with_most_failed_probes_speaks_for_the_pod() -> None:
    breakers = OpenBreakers()
    breakers.report(0, {CHAT: 0, CODE: 3})
    breakers.report(1, {CHAT: 2})
    assert breakers.failed_probes() == {CHAT: 2, CODE: 3}
    breakers.report(1, {})
    assert breakers.failed_probes() == {CHAT: 0, CODE: 3}


def test_a_worker_that_ended_is_forgotten() -> None:
    breakers = OpenBreakers()
    breakers.report(0, {CHAT: 1})
    breakers.forget(0)
    breakers.forget(7)
    assert breakers.answer()["open"] == []


def test_the_tag_names_the_state_and_not_the_way_to_it() -> None:
    breakers = OpenBreakers()
    before = breakers.answer()["tag"]
    breakers.report(0, {CHAT: 1})
    assert breakers.answer()["tag"] != before
    breakers.report(0, {})
    assert breakers.answer()["tag"] == before


async def test_an_answer_waits_for_a_change_and_no_longer() -> None:
    breakers = OpenBreakers()
    seen = breakers.answer()["tag"]
    waiting = asyncio.create_task(breakers.answer_once_changed(seen, seconds=15))
    await asyncio.sleep(0)
    breakers.report(0, {})
    await asyncio.sleep(0)
    assert not waiting.done()
    breakers.report(0, {CHAT: 0})
    assert (await waiting)["open"] == [{"route": "chat", "fingerprint": "f1", "failedProbes": 0}]


async def test_an_answer_comes_at_once_to_whoever_has_seen_another_or_does_not_wait() -> None:
    breakers = OpenBreakers()
    assert (await breakers.answer_once_changed("", seconds=15))["open"] == []
    seen = breakers.answer()["tag"]
    assert await breakers.answer_once_changed(seen, seconds=0) == breakers.answer()


async def test_nobody_waits_for_a_pod_that_is_about_to_go() -> None:
    breakers = OpenBreakers()
    seen = breakers.answer()["tag"]
    waiting = asyncio.create_task(breakers.answer_once_changed(seen, seconds=15))
    await asyncio.sleep(0)
    breakers.end()
    assert (await waiting)["tag"] == seen
    assert (await breakers.answer_once_changed(seen, seconds=15))["tag"] == seen
