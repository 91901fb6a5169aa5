"""Leaves of a page of a server's list what the tenant may see. What stays, stays as the server wrote it."""

import json
from typing import Any, Final, NamedTuple

from relay.tools.cursors import CursorSeal, Place
from relay.tools.decisions import Question
from relay.tools.permissions import ListKind, Permissions
from relay.tools.reading.edits import Edit, edited, replaced, without, without_items
from relay.tools.reading.eras import Era
from relay.tools.reading.json_text import Item, Member, items_at, members_at
from relay.tools.reading.messages import has_lookalike_of
from relay_contract.tools.definitions import definition_digest, resource_digest

MAX_TTL_MS: Final = 60_000
"""How long a client may go by a list without asking again. A call is decided on anew in any case."""
MAX_SIGNS: Final = 16 * 1024
"""In keys of a page's entries that are not in ASCII; relay.tools.reading.lookalikes says what they cost."""

_LIST_KEYS: Final = {
    ListKind.TOOLS: "tools",
    ListKind.PROMPTS: "prompts",
    ListKind.RESOURCES: "resources",
    ListKind.TEMPLATES: "resourceTemplates",
}
_NAMED_BY: Final = {
    ListKind.TOOLS: "name",
    ListKind.PROMPTS: "name",
    ListKind.RESOURCES: "uri",
    ListKind.TEMPLATES: "uriTemplate",
}
_KEPT: Final = frozenset({"resultType", "nextCursor", "ttlMs", "cacheScope"})
"""Members that stay beside the list; others, totals and metadata, tell of what is not granted."""


class InvalidList(Exception):
    """The result is no page of the list that was asked for."""


class Page(NamedTuple):
    """A message with a page of which the tenant may see so many entries, and where its list goes on; None after the last page."""

    text: str
    entries: int
    following: Place | None


def filtered(
    text: str, result: Member, question: Question, permissions: Permissions, seal: CursorSeal
) -> Page:
    """Returns the message with only the granted entries of the page in result; raises InvalidList."""
    kind, place = question.list_kind, question.place
    assert kind is not None
    assert place is not None
    members, end = members_at(text, result.start)
    by_key = {member.key: member for member in members}
    page = by_key.get(_LIST_KEYS[kind])
    if page is None or not isinstance(page.value, list):
        raise InvalidList
    names, edits = _entry_edits(text, page, kind, question.server, permissions)
    edits += _hint_edits(by_key)
    seen = place.seen + len(names)
    following = _following(by_key.get("nextCursor"), kind, question.server, seen, permissions)
    cursor = None if following is None else seal.sealed(following, permissions.revision)
    if following is not None and cursor is None:
        raise InvalidList
    dropped = [key for key in by_key if key not in _KEPT and key != page.key]
    dropped += [] if cursor is not None else ["nextCursor"]
    edits += without(members, *dropped)
    added = ""
    if question.era is Era.MODERN and "cacheScope" not in by_key:
        added = ',"cacheScope":"private"'
    if cursor is not None and "nextCursor" in by_key:
        edits.append(replaced(by_key["nextCursor"], cursor))
    elif cursor is not None:
        added += f',"nextCursor":"{cursor}"'
    if added:
        edits.append(Edit(end - 1, end - 1, added))
    return Page(edited(text, edits), len(names), following)


def empty_page(id_text: str, question: Question) -> str:
    """Returns the message with a last page that has no entries, to be asked for again at any time. id_text is the request's id as it was written."""
    assert question.list_kind is not None
    result: dict[str, Any] = {_LIST_KEYS[question.list_kind]: []}
    if question.era is Era.MODERN:
        result |= {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    content = json.dumps(result, separators=(",", ":"))
    return f'{{"jsonrpc":"2.0","id":{id_text},"result":{content}}}'


def _entry_edits(
    text: str, page: Member, kind: ListKind, server: str, permissions: Permissions
) -> tuple[frozenset[str], list[Edit]]:
    """Returns the names that the tenant sees, and the changes by which it sees no others."""
    items, _ = items_at(text, page.start)
    if _has_too_many_signs(items):
        raise InvalidList
    names = [_seen_as(item.value, kind, server, permissions) for item in items]
    edits = without_items(items, [name is None for name in names])
    for item, name in zip(items, names, strict=True):
        if name is not None:
            edits += _name_edits(text, item, kind, name)
    return frozenset(name for name in names if name is not None), edits


def _has_too_many_signs(items: list[Item]) -> bool:
    """Returns whether the keys of a page's entries would take long to fold, as no server's do that means well."""
    left = MAX_SIGNS
    for item in items:
        if isinstance(item.value, dict):
            left -= sum(len(key) for key in item.value if not key.isascii())
            if left < 0:
                return True
    return False


def _seen_as(entry: Any, kind: ListKind, server: str, permissions: Permissions) -> str | None:
    """Returns the name or URI under which the tenant sees an entry; None for one that it does not see."""
    key = _NAMED_BY[kind]
    if not isinstance(entry, dict) or has_lookalike_of(key, entry):
        return None
    name = entry.get(key)
    if not isinstance(name, str):
        return None
    if kind is ListKind.TOOLS or kind is ListKind.PROMPTS:
        known = permissions.published(kind, server).get(name)
        approved = known is not None and known.digest == definition_digest(entry)
        return known.name if known is not None and approved else None
    permitted = (
        permissions.resource(name) if kind is ListKind.RESOURCES else permissions.template(name)
    )
    if permitted is None or permitted.server != server:
        return None
    return name if permissions.listed(kind, server, name, resource_digest(entry)) else None


def _name_edits(text: str, item: Item, kind: ListKind, name: str) -> list[Edit]:
    if item.value[_NAMED_BY[kind]] == name:
        return []
    members, _ = members_at(text, item.start)
    return [replaced(member, name) for member in members if member.key == _NAMED_BY[kind]]


def _hint_edits(by_key: dict[str, Member]) -> list[Edit]:
    """Returns the changes that keep a list to its reader, and for a short time."""
    edits: list[Edit] = []
    scope, ttl = by_key.get("cacheScope"), by_key.get("ttlMs")
    if scope is not None and scope.value != "private":
        edits.append(replaced(scope, "private"))
    if ttl is not None and not _is_short(ttl.value):
        edits.append(replaced(ttl, MAX_TTL_MS))
    return edits


def _is_short(ttl: Any) -> bool:
    return isinstance(ttl, int | float) and not isinstance(ttl, bool) and ttl <= MAX_TTL_MS


def _following(
    member: Member | None, kind: ListKind, server: str, seen: int, permissions: Permissions
) -> Place | None:
    """Returns the place of the next page: of this server's, or else of the next server's first one.

    Pages behind the last entry that the tenant can have are not told of.
    """
    own = None if member is None else member.value
    if own is not None and not isinstance(own, str):
        raise InvalidList
    granted = permissions.published(kind, server)
    if own is None or (granted and seen >= len(granted)):
        return place_after(server, permissions.servers(kind))
    return Place(server, own, seen)


def place_after(server: str, servers: tuple[str, ...]) -> Place | None:
    """Returns the first page of the server that comes after this one; None after the last."""
    following = servers[servers.index(server) + 1 :] if server in servers else ()
    return Place(following[0], None) if following else None
