"""Holds the findings of a look at a tenant: what the operator measured, and a call through the relay itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_relay.views import raw
from kubectl_relay.views.raw import Object

_TOLD = ("RelayAvailable", "Programmed", "CredentialsReady", "CertificateReady", "Isolated")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckView:
    """One finding. passed is None where nothing could be found out, or what was found does no harm."""

    name: str
    passed: bool | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeView:
    tenant: str
    checks: tuple[CheckView, ...]

    @property
    def passed(self) -> bool:
        """Tells whether nothing was found wrong."""
        return all(one.passed is not False for one in self.checks)


def told_by_tenant(tenant: Object) -> Iterable[CheckView]:
    """Returns what the operator measured of a tenant; absent conditions do not concern it."""
    for type_ in _TOLD:
        found = raw.condition(tenant, type_)
        if found.reason:
            yield _of_condition(type_, found.status, found.message)


def told_by_providers(providers: Iterable[Object]) -> Iterable[CheckView]:
    """Returns what relay pods found of the providers. What leaves a Provider ready (a model that it does not list) fails nothing."""
    for one in providers:
        found, ready = raw.condition(one, "Probed"), raw.condition(one, "Ready")
        if found.reason:
            harmless = found.status == "False" and ready.status == "True"
            status = "Unknown" if harmless else found.status
            yield _of_condition(f"provider {raw.name_of(one)}", status, found.message)


def answered(name: str, seconds: float, message: str) -> CheckView:
    """Returns a call that was answered as it should be."""
    return CheckView(name=name, passed=True, message=f"{message} ({seconds * 1000:.0f} ms)")


def failed(name: str, message: str) -> CheckView:
    return CheckView(name=name, passed=False, message=message)


def unknown(name: str, message: str) -> CheckView:
    return CheckView(name=name, passed=None, message=message)


def caller(me: Mapping[str, Any]) -> str:
    """Says whom the relay takes the caller for, from the answer of GET /v1/me."""
    key = raw.part(me, "api_key")
    models = me.get("models")
    count = len(models) if isinstance(models, list) else 0
    return (
        f"the relay takes key {raw.text(key, 'name')} ({raw.text(key, 'generation')}), has configuration "
        f"{raw.number(me, 'generation')} in force and {count} {'model' if count == 1 else 'models'}"
    )


def _of_condition(name: str, status: str, message: str) -> CheckView:
    passed = {"True": True, "False": False}.get(status)
    return CheckView(name=name, passed=passed, message=message)
