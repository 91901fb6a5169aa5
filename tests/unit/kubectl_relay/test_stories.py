"""What the plugin shows of real objects: nothing is missing, nothing is wider than the terminal, nothing is made up."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import pytest
from tests.unit.kubectl_relay.scenes import STORIES, Told, played
from tests.unit.relay_operator.virtual_time import in_virtual_time

from kubectl_relay.errors import PluginError
from kubectl_relay.texts import access as access_text
from kubectl_relay.texts import plan as plan_text
from kubectl_relay.texts import route as route_text
from kubectl_relay.texts import tenant as tenant_text
from kubectl_relay.views import changes
from kubectl_relay.views.access import keys_view
from kubectl_relay.views.plan import plan_of, plan_view
from kubectl_relay.views.route import why_view
from kubectl_relay.views.tenant import fleet_view, status_view
from relay_operator.api.relay_route import RelayRoute
from relay_operator.decisions.canary.plans import policy_of
from relay_operator.names import ANNOTATION_APPROVE, ANNOTATION_RETRY


def texts(story: Told, width: int, *, has_colour: bool = False) -> Iterator[str]:
    """Yields every line of every command that reads."""
    screen = story.screen(width, has_colour=has_colour)
    status = status_view("relay-finance", story.tenant, [story.route], story.providers, ["a note"])
    yield from tenant_text.status(status, screen)
    yield from tenant_text.fleet(fleet_view([story.tenant], [story.route], []), screen)
    yield from route_text.why(why_view(story.route), screen)
    yield from plan_text.plan(plan_view(story.route, story.now), screen)
    yield from access_text.keys(keys_view("finance", "relay-finance", story.tenant, (), ()), screen)


def is_to_be_pasted(line: str) -> bool:
    """Tells whether a line is a command, which is in one piece however narrow the terminal is."""
    return line.startswith(("export", "curl", "#"))


def why(story: Told) -> str:
    return "\n".join(route_text.why(why_view(story.route), story.screen(10_000)))


def plan(story: Told) -> str:
    return "\n".join(plan_text.plan(plan_view(story.route, story.now), story.screen(10_000)))


def status(story: Told) -> str:
    view = status_view("relay-finance", story.tenant, [story.route], story.providers, [])
    return "\n".join(tenant_text.status(view, story.screen(10_000)))


@pytest.mark.parametrize("name", STORIES)
@in_virtual_time
async def test_every_story_fits_every_terminal_and_is_data_for_machines(name: str) -> None:
    story = await played(name)
    for width in (80, 120, 200):
        lines = [line for line in texts(story, width) if not is_to_be_pasted(line)]
        assert [line for line in lines if len(line) > width] == []
        assert not any("\033" in line for line in lines)
    assert list(texts(story, 20))
    assert any("\033" in line for line in texts(story, 80, has_colour=True))
    for view in (why_view(story.route), plan_view(story.route, story.now)):
        assert json.loads(json.dumps(asdict(view)))["route"]["name"] == "chat"


@in_virtual_time
async def test_a_climb_tells_its_weight_its_evidence_and_its_next_steps() -> None:
    story = await played("climbing")
    assert "Tenant finance  Ready True (Available)" in status(story)
    assert "chat  Progressing  [#####.....] 50 % of 100 %" in status(story)
    assert "from legacy to new" in status(story)
    assert "new (Configured) https://new.example.com/v1" in status(story).partition("Providers")[2]
    assert "third" not in status(story)
    assert "StepPassed, canary 50 %" in why(story)
    assert "Errors" in why(story)
    steps = [(one.kind, one.canary_percent) for one in plan_view(story.route, story.now).steps]
    assert steps == [("Weight", 75), ("Weight", 100), ("Promoted", 100)]
    assert "it takes for each step, a healthy verdict and 20 canary calls" in plan(story)
    assert "it waits" not in plan(story)


@in_virtual_time
async def test_the_cost_of_calls_is_told_where_it_is_known_or_limited() -> None:
    story = await played("climbing")
    assert story.route["status"]["cost"]["reason"] == "NoLedger"
    assert "cost of" not in status(story) + plan(story)
    story.route["spec"]["analysis"]["cost"] = {"maxIncreasePercent": 12.5}
    assert "cost of" not in status(story)
    assert (
        "cost of 1,000 calls: not known: the platform has no ledger; the canary may cost 12.5 % more"
        in plan(story)
    )
    story.route["status"]["cost"] = {
        "reason": "Known",
        "summary": "stable 2.00 USD, canary 1.20 USD",
    }
    assert "cost of 1,000 calls: stable 2.00 USD, canary 1.20 USD" in status(story)
    assert "canary 1.20 USD; the canary may cost 12.5 % more" in plan(story)
    del story.route["status"]["cost"]
    assert "cost of" not in status(story)
    assert "cost of 1,000 calls: not known yet; " in plan(story)


@in_virtual_time
async def test_a_rollback_tells_its_cause_and_how_it_is_tried_again() -> None:
    story = await played("rolled back")
    assert "RolledBack" in status(story)
    assert "rolled back from 25 %" in why(story)
    assert "requests failed" in why(story)
    assert f"{ANNOTATION_RETRY}=" in why(story)
    assert "kubectl relay retry chat -n relay-finance" in why(story)
    view = plan_view(story.route, story.now)
    assert view.waits_for
    assert view.steps[0].canary_percent == 25
    assert view.steps[0].earliest > story.route["status"]["history"][-1]["at"]


@in_virtual_time
async def test_an_approval_writes_what_the_condition_asks_for() -> None:
    story = await played("awaiting approval")
    ready = next(one for one in story.route["status"]["conditions"] if one["type"] == "Ready")
    change = changes.approve(story.route)
    value = change.patch["metadata"]["annotations"][ANNOTATION_APPROVE]
    assert ready["message"].endswith(f"{ANNOTATION_APPROVE}={value}")
    assert change.notes == ()
    assert "an approval by hand" in plan(story)
    approved = story.route | {
        "metadata": story.route["metadata"] | {"annotations": {ANNOTATION_APPROVE: value}}
    }
    assert not changes.approve(approved).is_needed


@pytest.mark.parametrize("name", ["rolled back", "frozen"])
@in_virtual_time
async def test_a_retry_writes_what_the_condition_asks_for(name: str) -> None:
    story = await played(name)
    ready = next(one for one in story.route["status"]["conditions"] if one["type"] == "Ready")
    change = changes.retry(story.route, force=False)
    value = change.patch["metadata"]["annotations"][ANNOTATION_RETRY]
    assert f"{ANNOTATION_RETRY}={value}" in ready["message"]
    forced = changes.retry(story.route, force=True)
    at_once = forced.patch["metadata"]["annotations"][ANNOTATION_RETRY]
    assert at_once == (f"{value}/force" if name == "rolled back" else value)
    assert at_once in ready["message"]


@in_virtual_time
async def test_a_pause_is_written_once_and_ended_once() -> None:
    climbing, paused = await played("climbing"), await played("paused")
    assert changes.pause(climbing.route).patch == {"spec": {"paused": True}}
    assert not changes.pause(paused.route).is_needed
    assert changes.resume(paused.route).patch == {"spec": {"paused": False}}
    assert not changes.resume(climbing.route).is_needed
    assert "spec.paused" in plan_view(paused.route, paused.now).waits_for
    assert "if that ended now" in plan(paused)


@in_virtual_time
async def test_the_way_back_is_percent_0() -> None:
    story = await played("climbing")
    assert changes.back(story.route).patch == {"spec": {"canary": {"percent": 0}}}
    there = story.route | {"spec": story.route["spec"] | {"canary": {"percent": 0}}}
    assert not changes.back(there).is_needed


RETRY = partial(changes.retry, force=False)


@pytest.mark.parametrize(
    ("name", "change", "why_not"),
    [
        ("climbing", changes.approve, "needs no approval"),
        ("climbing", RETRY, "nothing to be tried again: its phase is Progressing, with 50 %"),
        ("promoted", RETRY, "its phase is Promoted"),
        ("without a canary", RETRY, "its phase is Stable"),
        ("without a canary", changes.pause, "has no canary"),
        ("without a canary", changes.resume, "has no canary"),
        ("without a canary", changes.back, "has no canary"),
        ("without a canary", changes.approve, "needs no approval"),
    ],
)
@in_virtual_time
async def test_what_cannot_be_done_says_why(
    name: str, change: Callable[..., changes.ChangeView], why_not: str
) -> None:
    story = await played(name)
    with pytest.raises(PluginError, match=why_not):
        change(story.route)


@in_virtual_time
async def test_who_else_applies_a_field_is_told() -> None:
    story = await played("climbing")
    fields: dict[str, Any] = {"f:spec": {"f:canary": {"f:percent": {}}}}
    managers = [
        {"manager": "argocd-controller", "operation": "Apply", "fieldsV1": fields},
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": fields},
        {"manager": "relay", "operation": "Apply", "fieldsV1": fields, "subresource": "status"},
    ]
    body = story.route | {"metadata": story.route["metadata"] | {"managedFields": managers}}
    (note,) = [one for one in changes.back(body).notes if "applied by" in one]
    assert note.startswith("spec.canary.percent is applied by argocd-controller")
    assert not any("applied by" in one for one in changes.pause(body).notes)


@in_virtual_time
async def test_a_refused_spec_is_told_and_waited_for() -> None:
    story = await played("refused")
    assert "absent" in status(story)
    assert "absent" in plan_view(story.route, story.now).waits_for


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("promoted", "make it the new stable"),
        ("without a canary", "all calls go to stable"),
        ("one jump", "stays at its target of 10 %"),
    ],
)
@in_virtual_time
async def test_a_plan_says_where_it_ends(name: str, end: str) -> None:
    story = await played(name)
    assert end in plan(story)


@pytest.mark.parametrize("name", STORIES)
@in_virtual_time
async def test_the_plan_is_read_from_the_spec_as_the_operator_reads_it(name: str) -> None:
    story = await played(name)
    read = plan_of(story.route)
    meant = policy_of(RelayRoute.model_validate(story.route))
    for field in (
        "step_percent",
        "every_seconds",
        "min_requests",
        "guarded",
        "paused",
        "bake_seconds",
        "needs_approval",
        "freezes_on_breach",
        "cool_down_seconds",
        "shadow",
    ):
        if read.fingerprint:
            assert (field, getattr(read, field)) == (field, getattr(meant, field))
