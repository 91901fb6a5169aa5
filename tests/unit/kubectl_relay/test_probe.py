"""What a probe makes of what was measured: what is wrong fails it, what does no harm or is not known does not."""

from typing import Any

import pytest

from kubectl_relay.texts.probe import probe
from kubectl_relay.texts.screen import Screen
from kubectl_relay.views.probe import ProbeView, caller, told_by_providers, told_by_tenant


def body(kind: str, **statuses: str) -> dict[str, Any]:
    conditions = [
        {"type": type_, "status": status, "reason": "Reason", "message": f"{type_} is {status}"}
        for type_, status in statuses.items()
    ]
    return {"kind": kind, "metadata": {"name": "one"}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("probed", "ready", "passed"),
    [
        ("True", "True", True),
        ("False", "False", False),
        ("False", "True", None),
        ("Unknown", "True", None),
    ],
)
def test_a_provider_fails_a_probe_if_it_is_not_ready_either(
    probed: str, ready: str, passed: bool | None
) -> None:
    (check,) = told_by_providers([body("Provider", Probed=probed, Ready=ready)])
    assert (check.name, check.passed) == ("provider one", passed)


@pytest.mark.parametrize(
    ("isolated", "passed"), [("True", True), ("False", False), ("Unknown", True)]
)
def test_a_probe_passes_unless_something_is_wrong(isolated: str, passed: bool) -> None:
    checks = tuple(told_by_tenant(body("Tenant", Programmed="True", Isolated=isolated)))
    view = ProbeView(tenant="one", checks=checks)
    assert view.passed is passed
    marks = {"True": "ok  Isolated", "False": "FAILED  Isolated", "Unknown": "warning  Isolated"}
    lines = "\n".join(probe(view, Screen(width=80, has_colour=False, now=0.0)))
    assert marks[isolated] in lines


def test_a_caller_is_told_by_key_configuration_and_models() -> None:
    me = {
        "api_key": {"name": "production", "generation": "current"},
        "generation": 7,
        "models": ["a", "b"],
    }
    assert caller(me) == (
        "the relay takes key production (current), has configuration 7 in force and 2 models"
    )
