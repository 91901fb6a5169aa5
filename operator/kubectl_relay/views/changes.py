"""Computes the writes of approve, retry, pause, resume and back: the annotation or field that GitOps would."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubectl_relay.errors import PluginError
from kubectl_relay.views import raw
from kubectl_relay.views.plan import plan_of, state_of
from kubectl_relay.views.raw import Object
from relay_operator.decisions.canary.state import Phase, State
from relay_operator.names import ANNOTATION_APPROVE, ANNOTATION_RETRY

FORCE: Final = "/force"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeView:
    """A merge patch of a RelayRoute, and what a person should know of it. It is empty if the route is so already."""

    route: str
    namespace: str
    what: str
    patch: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def is_needed(self) -> bool:
        """Tells whether anything is to be written."""
        return bool(self.patch)


def approve(body: Object) -> ChangeView:
    """Lets the step that the canary is on pass."""
    state, plan = state_of(body), plan_of(body)
    if not plan.needs_approval:
        raise PluginError(
            f"{_route(body)} needs no approval: its steps pass by themselves "
            "(spec.canary.progression.approval is not Manual)"
        )
    if not state.weight_percent or state.phase is Phase.PROMOTED:
        raise PluginError(f"{_route(body)} is on no step that could be approved: {_phase(body)}")
    ready = raw.condition(body, "Ready")
    notes = []
    if ready.reason != "AwaitingApproval":
        notes.append(
            f"step {state.step_index} has not shown everything yet ({ready.message}); it passes as soon as it has"
        )
    what = f"approves step {state.step_index} at {state.weight_percent} %"
    return _annotated(body, ANNOTATION_APPROVE, state.step_token, what, notes)


def retry(body: Object, *, force: bool) -> ChangeView:
    """Tries a rolled-back canary again, or lets a frozen one go on."""
    state = state_of(body)
    if state.phase is Phase.ROLLED_BACK:
        value = state.run_token + (FORCE if force else "")
        when = "at once" if force else "once coolDown is over"
        coming = raw.text(raw.part(body, "status"), "next")
        notes = [] if force or not coming else [f"{coming}; --force does not wait"]
        return _annotated(body, ANNOTATION_RETRY, value, f"tries the canary again, {when}", notes)
    if state.is_frozen_by_breach:
        what = f"lets the frozen canary go on at {state.weight_percent} %"
        return _annotated(body, ANNOTATION_RETRY, state.run_token, what, [])
    if state.phase is Phase.FROZEN:
        raise PluginError(
            f"{_route(body)} goes on by itself once the incident is over: {raw.condition(body, 'Ready').message}"
        )
    raise PluginError(f"{_route(body)} has nothing to be tried again: {_phase(body)}")


def pause(body: Object) -> ChangeView:
    """Keeps the weight from rising."""
    _with_canary(body)
    paused = raw.part(body, "spec").get("paused") is True
    patch = {} if paused else {"spec": {"paused": True}}
    what = "is paused already" if paused else "is paused"
    notes = ["a breach still rolls back, and a lower percent still takes effect"]
    return _change(body, f"{what} at {state_of(body).weight_percent} %", patch, notes)


def resume(body: Object) -> ChangeView:
    """Ends a pause."""
    _with_canary(body)
    paused = raw.part(body, "spec").get("paused") is True
    patch = {"spec": {"paused": False}} if paused else {}
    return _change(body, "is resumed" if paused else "is not paused", patch, [])


def back(body: Object) -> ChangeView:
    """Returns all traffic to stable."""
    canary = _with_canary(body)
    percent, weight = raw.number(canary, "percent"), state_of(body).weight_percent
    patch = {"spec": {"canary": {"percent": 0}}} if percent else {}
    if not percent:
        still = f", which still has {weight} %" if weight else ""
        return _change(body, f"asks for no weight of the canary already{still}", patch, [])
    what = f"returns all traffic to stable at once (the canary had {weight} % of {percent} %)"
    notes = ["raise spec.canary.percent to begin anew"]
    return _change(body, what, patch, notes)


def _with_canary(body: Object) -> Object:
    canary = raw.part(body, "spec", "canary")
    if not canary:
        raise PluginError(f"{_route(body)} has no canary: all calls go to stable")
    return canary


def _annotated(body: Object, key: str, value: str, what: str, notes: list[str]) -> ChangeView:
    there = raw.text(raw.part(body, "metadata", "annotations"), key)
    if there == value:
        return _change(body, f"has this annotation already: {key}={value}", {}, notes)
    return _change(body, what, {"metadata": {"annotations": {key: value}}}, notes)


def _change(body: Object, what: str, patch: Mapping[str, Any], notes: list[str]) -> ChangeView:
    return ChangeView(
        route=raw.name_of(body),
        namespace=raw.text(raw.part(body, "metadata"), "namespace"),
        what=what,
        patch=patch,
        notes=(
            *notes,
            *(() if raw.is_observed(body) else (raw.UNSEEN,)),
            *(_kept_by_others(body, patch) if patch else ()),
        ),
    )


def _kept_by_others(body: Object, patch: Mapping[str, Any]) -> Iterator[str]:
    """Warns of a field that somebody else applies, who will put the former value back."""
    for path in _leaves(patch):
        for manager in raw.entries(raw.part(body, "metadata"), "managedFields"):
            name = raw.text(manager, "manager")
            fields = raw.part(manager, "fieldsV1", *(f"f:{field}" for field in path[:-1]))
            ours = name == "kubectl" or name.startswith("kubectl-")
            if f"f:{path[-1]}" in fields and not ours and not manager.get("subresource"):
                yield (
                    f"{'.'.join(path)} is applied by {name}, which may put the former value back: change it there as well"
                )


def _leaves(patch: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in patch.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name)


def _route(body: Object) -> str:
    metadata = raw.part(body, "metadata")
    return f"route {raw.name_of(body)} in {raw.text(metadata, 'namespace')}"


def _phase(body: Object) -> str:
    state: State = state_of(body)
    return f"its phase is {state.phase.value}, with {state.weight_percent} % on the canary"


CHANGES: Final[Mapping[str, Callable[[Object], ChangeView]]] = {
    "approve": approve,
    "pause": pause,
    "resume": resume,
    "back": back,
}
"""The changes without an option."""
