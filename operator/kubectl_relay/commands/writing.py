"""The commands that write: approve, retry, pause, resume and back."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from kubectl_relay.cluster.kubectl import Kubectl
from kubectl_relay.commands import targets
from kubectl_relay.commands.shown import Shown
from kubectl_relay.commands.targets import Place
from kubectl_relay.texts.change import change as change_text
from kubectl_relay.views.changes import ChangeView
from kubectl_relay.views.raw import Object


def write(
    kubectl: Kubectl,
    name: str,
    place: Place,
    wanted: Callable[[Object], ChangeView],
    *,
    dry_run: bool,
) -> Shown:
    """Makes a change of a route, if it is not so already."""
    view = wanted(targets.route(kubectl, name, place))
    if view.is_needed:
        kubectl.patch_route(view.namespace, view.route, view.patch, dry_run=dry_run)
    data = {**asdict(view), "written": view.is_needed and not dry_run}
    return Shown(data=data, text=partial(change_text, view, dry_run=dry_run))
