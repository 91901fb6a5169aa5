"""Completion of the command line, as kubectl asks plugins for it (kubectl_complete-relay)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from kubectl_relay.arguments import COMMANDS, FORWARDED, TENANT_COMMANDS, WRITING_COMMANDS
from kubectl_relay.cluster.kubectl import Kubectl
from kubectl_relay.errors import PluginError
from kubectl_relay.views import raw
from relay_operator.names import NAMESPACE_PREFIX, tenant_namespace

NO_FILES: Final = ":4"
"""Directive of cobra, which kubectl is built on: no file names beside what is offered."""

_VALUED: Final = frozenset(
    {"-n", "--namespace", "-o", "--output", "-t", "--tenant", "--show", "--model", "--as-group"}
    | {f"--{name}" for name in FORWARDED}
)
"""Options whose value may be a word of its own."""

_OWN: Final = {"retry": ("--force",), "keys": ("--show",), "probe": ("--model",)}


def lines(words: Sequence[str]) -> Iterator[str]:
    """Yields what can stand in the place of the last word, then the directive."""
    *before, last = words or [""]
    try:
        offered = list(_offered(before, last))
    except PluginError:
        # an unreachable cluster offers nothing; what is wrong shows when the command is run
        offered = []
    yield from (one for one in offered if one.partition("\t")[0].startswith(last))
    yield NO_FILES


def _offered(before: Sequence[str], last: str) -> Iterator[str]:
    if not before:
        yield from (f"{name}\t{help_}" for name, help_ in COMMANDS.items())
        return
    command, kubectl = before[0], Kubectl(_forwarded(before))
    previous = before[-1]
    if command not in COMMANDS:
        return
    if previous in _VALUED:
        yield from _values(kubectl, before)
    elif last.startswith("-"):
        yield from _options(command)
    elif command in TENANT_COMMANDS:
        yield from _tenants(kubectl)
    else:
        yield from _routes(kubectl, before)


def _values(kubectl: Kubectl, before: Sequence[str]) -> Iterator[str]:
    """Yields what the option at the end may be given; nothing where only the user can know."""
    match before[-1]:
        case "-o" | "--output":
            yield from ("text", "json")
        case "-t" | "--tenant":
            yield from _tenants(kubectl)
        case "-n" | "--namespace":
            yield from (tenant_namespace(one) for one in _tenants(kubectl))
        case "--context":
            yield from kubectl.contexts()
        case "--show":
            told = kubectl.tenant(_target_tenant(kubectl, before))
            yield from (
                raw.text(one, "name") for one in raw.entries(raw.part(told, "status"), "keys")
            )
        case "--model":
            routes = kubectl.routes(tenant_namespace(_target_tenant(kubectl, before)))
            matches = (raw.part(raw.part(one, "spec"), "match") for one in routes)
            yield from sorted({str(model) for one in matches for model in one.get("models") or ()})


def _target_tenant(kubectl: Kubectl, before: Sequence[str]) -> str:
    """Returns the tenant that the command is about, or whose namespace is the current one."""
    words = (
        word
        for option, word in pairwise(before)
        if option not in _VALUED and not word.startswith("-")
    )
    named = next(words, "")
    space = _value(before, ("-n", "--namespace")) or ("" if named else kubectl.namespace())
    return named or space.removeprefix(NAMESPACE_PREFIX)


def _options(command: str) -> Iterator[str]:
    yield from ("--namespace", "--output", *(f"--{name}" for name in FORWARDED))
    yield from _OWN.get(command, ())
    yield from () if command in TENANT_COMMANDS else ("--tenant",)
    yield from ("--dry-run",) if command in WRITING_COMMANDS else ()


def _tenants(kubectl: Kubectl) -> Iterator[str]:
    yield from (raw.name_of(one) for one in kubectl.tenants())


def _routes(kubectl: Kubectl, before: Sequence[str]) -> Iterator[str]:
    """Yields routes of the namespace that was named; else of all, with their tenant."""
    tenant = _value(before, ("-t", "--tenant"))
    namespace = _value(before, ("-n", "--namespace")) or (tenant and tenant_namespace(tenant))
    for one in kubectl.routes(namespace):
        space = raw.text(raw.part(one, "metadata"), "namespace")
        name = raw.name_of(one)
        yield name if namespace else f"{space.removeprefix(NAMESPACE_PREFIX)}/{name}"


def _forwarded(before: Sequence[str]) -> tuple[str, ...]:
    given = ((name, _value(before, (f"--{name}",))) for name in FORWARDED)
    return tuple(f"--{name}={value}" for name, value in given if value)


def _value(before: Sequence[str], names: tuple[str, ...]) -> str:
    """Returns what an option was given, as a word of its own or after an equals sign."""
    for word, following in zip(before, [*before[1:], ""], strict=True):
        if word in names:
            return following
        name, equals, value = word.partition("=")
        if equals and name in names:
            return value
    return ""
