"""Stories are played side by side, and the end of one does not depend on that of another."""

import pytest
from tests.e2e.canaries import playing
from tests.e2e.canaries.playing import Script, Until, play


def _until(good: bool, seconds: float) -> Until:
    return Until("a sign", lambda: good, seconds, lambda: "nothing")


def _ends_well(log: list[str]) -> Script:
    log.append("begun")
    yield _until(True, 1.0)
    log.append("ended")


def _waits_in_vain() -> Script:
    yield _until(False, 0.0)


def _breaks() -> Script:
    yield _until(True, 1.0)
    raise AssertionError("not as it should be")


def test_each_story_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "LOOK_SECONDS", 0.0)
    log: list[str] = []
    ends: list[str] = []
    results = play(
        {"well": _ends_well(log), "vain": _waits_in_vain(), "broken": _breaks()}, ended=ends.append
    )
    assert set(ends) == {"well", "vain", "broken"}
    assert log == ["begun", "ended"]
    assert results["well"].error is None
    assert str(results["vain"].error) == "waited 0 s for a sign; last seen: nothing"
    assert str(results["broken"].error) == "not as it should be"
