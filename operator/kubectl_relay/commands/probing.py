"""The command probe: what the operator measured of a tenant, and a call through its relay."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from urllib.parse import urlsplit

from kubectl_relay.cluster.kubectl import Kubectl
from kubectl_relay.cluster.relay_calls import RelayCalls, forwarded
from kubectl_relay.commands import targets
from kubectl_relay.commands.reading import api_key
from kubectl_relay.commands.shown import Shown
from kubectl_relay.commands.targets import Place
from kubectl_relay.errors import Forbidden, PluginError
from kubectl_relay.texts.probe import probe as probe_text
from kubectl_relay.views import probe as views
from kubectl_relay.views import raw
from kubectl_relay.views.probe import CheckView, ProbeView
from kubectl_relay.views.raw import Object
from kubectl_relay.views.tenant import provider_names
from relay_contract.endpoints import TRAFFIC_PORT
from relay_operator.names import tenant_namespace

_CALL = "call"


def probe(kubectl: Kubectl, name: str, place: Place, model: str) -> Shown:
    """Probes a tenant; with model also by a chat of one token, which its provider bills."""
    found = targets.tenant_name(kubectl, name, place)
    checks = (*_told(kubectl, found), *_called(kubectl, found, model))
    view = ProbeView(tenant=found, checks=checks)
    data = {**asdict(view), "passed": view.passed}
    return Shown(data=data, text=partial(probe_text, view), exit_code=0 if view.passed else 1)


def _told(kubectl: Kubectl, name: str) -> Iterator[CheckView]:
    """Yields what the operator and the relay pods measured."""
    try:
        yield from views.told_by_tenant(targets.tenant(kubectl, name))
    except Forbidden as error:
        yield views.unknown("Tenant", str(error))
    routes = kubectl.routes(tenant_namespace(name))
    named = {one for route in routes for one in provider_names(route)}
    try:
        providers = [one for one in kubectl.providers() if raw.name_of(one) in named]
    except Forbidden as error:
        yield views.unknown("Providers", str(error))
        return
    yield from views.told_by_providers(providers)


def _called(kubectl: Kubectl, name: str, model: str) -> Iterator[CheckView]:
    """Yields what calls through the relay met. Who may not read a key or forward a port knows no more than before."""
    space = tenant_namespace(name)
    try:
        key = api_key(kubectl, name, "")
        endpoint = urlsplit(_endpoint(kubectl, name))
        with forwarded(kubectl, space, TRAFFIC_PORT) as port:
            calls = RelayCalls(
                port=port,
                host=endpoint.netloc or f"localhost:{port}",
                is_tls=endpoint.scheme == "https",
                api_key=key,
            )
            yield from _asked(calls, model)
    except Forbidden as error:
        yield views.unknown(_CALL, f"{error}; try it from a pod that the Tenant's allowFrom names")
    except PluginError as error:
        yield views.failed(_CALL, str(error))


def _endpoint(kubectl: Kubectl, name: str) -> str:
    try:
        return raw.text(raw.part(kubectl.tenant(name), "status"), "endpoint")
    except Forbidden:
        return ""


def _asked(calls: RelayCalls, model: str) -> Iterator[CheckView]:
    me = calls.ask("GET", "/v1/me")
    if me.status == 200:
        yield views.answered("GET /v1/me", me.seconds, views.caller(me.body))
    else:
        yield views.failed("GET /v1/me", me.error)
    if not model:
        return
    asked: Object = {
        "model": model,
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "Say yes."}],
    }
    chat = calls.ask("POST", "/v1/chat/completions", asked)
    what = f"chat with {model}"
    if chat.status == 200:
        told = f"answered by {raw.text(chat.body, 'model') or 'the provider'}"
        yield views.answered(what, chat.seconds, told)
    else:
        yield views.failed(what, chat.error)
