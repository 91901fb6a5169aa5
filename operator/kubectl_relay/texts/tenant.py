"""One tenant on one screen, and all tenants in a list."""

from collections.abc import Iterator

from kubectl_relay.texts.route import not_ready, short, told_moves
from kubectl_relay.texts.screen import Screen, state_of, table
from kubectl_relay.views.raw import UNSEEN, ConditionView
from kubectl_relay.views.tenant import BillView, FleetView, KeyView, StatusView, TenantView


def status(view: StatusView, screen: Screen) -> Iterator[str]:
    """Writes the screen of a tenant."""
    if view.tenant is not None:
        yield from _tenant(view.tenant, screen)
        yield ""
    yield screen.title(f"Routes in {view.namespace}")
    if not view.routes:
        yield from screen.wrapped("none: calls are answered with 404 model_not_found")
    for route in view.routes:
        yield from short(route, screen)
    if view.providers:
        yield ""
        yield screen.title("Providers")
        for provider in view.providers:
            if provider.ready.status == "True":
                yield from screen.wrapped(
                    f"{provider.name} ({provider.ready.reason}) {provider.url}"
                )
            else:
                yield f"  {provider.name}"
                yield from not_ready(provider.ready, screen, indent=4)
    if view.moves:
        yield ""
        yield screen.title("Last moves")
        yield from told_moves(view.moves, screen, named=True)
    yield from told_notes(view.notes, screen)


def fleet(view: FleetView, screen: Screen) -> Iterator[str]:
    """Writes the list of all tenants; what needs a person or moves has its own line."""
    head = ("TENANT", "READY", "REASON", "RELAYS", "ROUTES")
    rows = [
        (one.name, one.ready.status, one.ready.reason, one.relay, str(one.routes))
        for one in view.tenants
    ]
    first, *lines = table([head, *rows])
    yield first
    for one, line in zip(view.tenants, lines, strict=True):
        yield line if one.ready.status == "True" else screen.paint(line, state_of(one.ready.status))
        if one.not_ready:
            yield from screen.wrapped(f"not ready: {', '.join(one.not_ready)}", indent=4)
        if one.under_way:
            yield from screen.wrapped(f"under way: {', '.join(one.under_way)}", indent=4)
    yield from told_notes(view.notes, screen)


def told_notes(notes: tuple[str, ...], screen: Screen) -> Iterator[str]:
    """Writes what could not be read."""
    for note in notes:
        yield ""
        yield from screen.wrapped(note, indent=0, label="note: ")


def key_line(key: KeyView, screen: Screen) -> str:
    """Says when a key became the current one, and what comes."""
    facts = [f"priority {key.priority}"] if key.priority and key.priority != "normal" else []
    if key.since:
        facts.append(f"set {screen.ago(key.since)}")
    if key.rotates_at:
        facts.append(f"rotated {screen.ago(key.rotates_at)}")
    if key.previous_until:
        facts.append(f"the one before it is accepted until {screen.moment(key.previous_until)}")
    if key.source == "Digest":
        facts.append("made by the platform")
    return f"{key.name} ({', '.join(facts)})" if facts else key.name


def _tenant(tenant: TenantView, screen: Screen) -> Iterator[str]:
    told = tenant.ready.reason or "not looked at yet"
    ready = screen.paint(f"Ready {tenant.ready.status} ({told})", state_of(tenant.ready.status))
    yield f"{screen.title(f'Tenant {tenant.name}')}  {ready}"
    if tenant.ready.status != "True":
        yield from screen.wrapped(tenant.ready.message)
    if not tenant.is_observed:
        yield from screen.wrapped(UNSEEN)
    for label, text in _facts(tenant, screen):
        yield from screen.wrapped(text, label=f"{label:<10}")
    for trouble in tenant.troubles:
        if trouble.message != tenant.ready.message:
            yield from not_ready(trouble, screen, indent=2)


def _facts(tenant: TenantView, screen: Screen) -> Iterator[tuple[str, str]]:
    if tenant.endpoint:
        yield "endpoint", tenant.endpoint
    if tenant.relay:
        generation = (
            f"configuration {tenant.config_generation} in force in {tenant.pods_acknowledged} pods"
        )
        tier = f", tier {tenant.tier}" if tenant.tier else ""
        yield "relay", f"{tenant.relay} pods ready, {generation}{tier}"
    if tenant.keys:
        yield "keys", ", ".join(key_line(one, screen) for one in tenant.keys)
    if tenant.isolated.reason:
        yield "isolated", _isolation(tenant.isolated)
    # what is not as it should be is told below
    if tenant.tools.message and tenant.tools.status != "False":
        yield "tools", tenant.tools.message
    if bill := "; ".join(_bill(tenant.bill)):
        yield "bill", bill


def _bill(bill: BillView) -> Iterator[str]:
    if bill.month:
        yield f"{bill.spent} USD in {bill.month}"
    if bill.percent:
        yield f"{bill.percent} % of what it may spend"
    if bill.limit.status == "True":
        yield bill.limit.message


def _isolation(found: ConditionView) -> str:
    known = {"True": "yes", "False": "NO"}.get(found.status, "not known")
    return f"{known} ({found.reason})"
