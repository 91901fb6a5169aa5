"""What of a manifest holds for chat calls. Default deny: a tool that no grant covers is offered to no model."""

from typing import Final

from relay.tools.chat.tool_entries import ToolList, names_of, read_list
from relay.tools.permissions import Permissions
from relay_contract.tools.manifest import OnDenied

TOOL_CHOICES: Final = frozenset({"none", "auto", "required", "any"})
"""Values of tool_choice that name no tool; `any` is how some providers say `required`."""
FREE_CHOICES: Final = frozenset({"none", "auto"})
"""Those that a model can follow without any tool."""
_OF_A_WORD: Final = frozenset({"type", "name", "disable_parallel_tool_use"})
_OF_A_LIST: Final = frozenset({"type", "mode", "tools", "allowed_tools"})
"""Keys of choices that are no entries of a list. Some readers take others for them, in capitals."""
MAX_KEPT_LISTS: Final = 32
MAX_KEPT_BYTES: Final = 64 * 1024
_MAX_SMALL: Final = 64
_MAX_SMALL_BYTES: Final = 256
"""Fields without a tool in them: clients send the same few with every call."""


class ChatPolicy:
    """What the calls of one tenant may offer, and what becomes of the rest: with refuses a call is answered with an error.

    Agents offer the same tools with every call, so the last lists are kept with what became of them. context is what models are
    told of the tenant, as a JSON string; empty where they are told nothing. revision is that of the manifest.
    """

    __slots__ = ("_kept", "_names", "_without_tools", "context", "refuses", "revision")

    def __init__(self, permissions: Permissions, on_denied: OnDenied, context: bytes = b"") -> None:
        self.context = context
        self.revision = permissions.revision
        self._names = frozenset(permissions.tools)
        self.refuses = on_denied == "Refuse"
        self._kept: dict[bytes, ToolList] = {}
        self._without_tools: set[tuple[str, bytes]] = set()

    def permits(self, name: object) -> bool:
        """Returns whether a tool of this name is granted."""
        return isinstance(name, str) and name in self._names

    def permits_entry(self, entry: object) -> bool:
        """Returns whether every name is granted that a reader may find in an entry of `tools`; raises UncheckableTools."""
        names = names_of(entry)
        return names is not None and all(name in self._names for name in names)

    def tool_list(self, raw: bytes) -> ToolList:
        """Returns what is left of a list of tools; raises UncheckableTools."""
        known = self._kept.get(raw)
        if known is not None:
            return known
        found = read_list(raw, self.permits_entry)
        if len(raw) <= MAX_KEPT_BYTES:
            if len(self._kept) >= MAX_KEPT_LISTS:
                self._kept.clear()
            self._kept[raw] = found
        return found

    def is_without_tools(self, key: str, value: bytes) -> bool:
        """Returns whether this was read in a field and gives a model no tool."""
        return (key, value) in self._without_tools

    def note_without_tools(self, key: str, value: bytes) -> None:
        """Keeps that this gives a model no tool in the field of this name."""
        if len(value) <= _MAX_SMALL_BYTES:
            if len(self._without_tools) >= _MAX_SMALL:
                self._without_tools.clear()
            self._without_tools.add((key, value))

    def permits_choice(self, choice: object) -> bool:
        """Returns whether every tool that a value of tool_choice or function_call names is granted."""
        if isinstance(choice, str):
            return choice in TOOL_CHOICES or choice in self._names
        if not isinstance(choice, dict):
            return choice is None
        kind = choice.get("type")
        if kind == "allowed_tools":
            return self._permits_all(choice)
        if kind == "tool":
            return _OF_A_WORD.issuperset(choice) and self.permits(choice.get("name"))
        if isinstance(kind, str) and kind in TOOL_CHOICES:
            return _OF_A_WORD.issuperset(choice) and "name" not in choice
        return self.permits_entry(choice)

    def _permits_all(self, choice: dict[str, object]) -> bool:
        """The Responses API has the list beside the type, chat completions one level deeper."""
        lists: list[object] = []
        for holder in (choice, choice.get("allowed_tools")):
            if isinstance(holder, dict):
                if not _OF_A_LIST.issuperset(holder):
                    return False
                lists += [holder["tools"]] if "tools" in holder else []
        for tools in lists:
            if not isinstance(tools, list) or not all(map(self.permits_entry, tools)):
                return False
        return bool(lists)


def needs_a_tool(choice: object) -> bool:
    """Returns whether a model cannot follow this value of tool_choice without a tool."""
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return choice is not None and not (isinstance(kind, str) and kind in FREE_CHOICES)
