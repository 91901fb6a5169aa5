"""Finds in what a provider says the calls of tools, and whether each is of one that is granted."""

from typing import Any, Final

from relay.tools.chat.chat_policy import ChatPolicy
from relay.tools.chat.other_shapes import Found, may_be_calls
from relay.tools.chat.tool_entries import label, printable

_NAMED_CALLS: Final = ("function_call", "custom_tool_call")
"""Items of the Responses API that call a tool by its name."""
_OTHER_ITEMS: Final = (
    *("message", "reasoning", "compaction"),
    *("function_call_output", "custom_tool_call_output"),
)
"""Items that call nothing. What is in neither list is the call of a tool that its provider runs, or may be."""
_ARGUMENTS: Final = ("function_call_arguments", "custom_tool_call_input")
"""Events of the Responses API, by the second part of their names, that bring the arguments of a call by name."""
_ARGUMENT_KEYS: Final = ("arguments", "input")
_OTHER_ARGUMENT_KEYS: Final = (*_ARGUMENT_KEYS, "args", "parameters")
"""Those of other shapes as well."""
_CALLING_BLOCKS: Final = ("tool_use", *_NAMED_CALLS, "tool_call")
"""Types of blocks of content that call a tool by its name: Anthropic's, and those that some gateways and clients write an item or a call as."""
_CALLING_WORDS: Final = ("tool_use", "_call")
"""One of them stands in the type of every block that calls something: at its provider, if it is none of those by name."""
_TOLD_WORDS: Final = ("_output", "_result")
"""Ends of the types of blocks that only tell what came of a call."""
_BLOCKS_UNDER: Final = ("content_block", "part")
"""Fields of an event that hold one block of content: Anthropic's, and that of the Responses API."""
_PARTS_UNDER: Final = ("delta", "message")
"""Fields of an event or a choice that hold a message, or a part of one."""
_NO_CHOICE: Final = -1
"""Stands for the number of the choice where there are none."""
_LEGACY: Final = -1
"""Stands for the number of the one call in `function_call`."""


class CalledTools:
    """The calls of one answer, in one document or in many events. Each has to say its name before its arguments.

    denied is what the first call that is not granted names itself, empty as long as there is none, or where nobody can tell what is called.
    """

    __slots__ = ("_blocks", "_has_named_another", "_items", "_names", "_policy", "denied")

    def __init__(self, policy: ChatPolicy) -> None:
        self._policy = policy
        self._names: dict[tuple[int, int], str] = {}
        self._items: set[object] = set()
        self._blocks: set[object] = set()
        self._has_named_another = False
        self.denied = ""

    def permits(self, payload: dict[str, Any], event: str = "") -> bool:
        """Returns whether everything that is called here is granted. event is the name of the event that brings it."""
        choices = payload.get("choices")
        if choices is not None and not self._permits_choices(choices):
            return False
        if not self._permits_parts(payload, _NO_CHOICE) or not self._permits_input(payload):
            return False
        for kind in (payload.get("type"), event):
            if isinstance(kind, str) and not self._permits_event(kind, payload):
                return False
        response = payload.get("response")
        items = [payload.get("output")]
        if isinstance(response, dict):
            items.append(response.get("output"))
        return (
            all(self._permits_items(one) for one in items)
            and self._permits_item(payload.get("item"), payload.get("output_index"))
            and all(map(self._permits_other, may_be_calls(payload)))
        )

    # -- chat completions ------------------------------------------------------------------------------------------

    def _permits_choices(self, choices: object) -> bool:
        if not isinstance(choices, list):
            return False
        for place, choice in enumerate(choices):
            if not isinstance(choice, dict):
                return False
            if not self._permits_parts(choice, _number(choice, place)):
                return False
        return True

    def _permits_parts(self, holder: dict[str, Any], choice: int) -> bool:
        """Judges what calls there are in this, and in the messages inside it."""
        parts: list[object] = [holder]
        while parts:
            part = parts.pop()
            if isinstance(part, dict):
                if not self._permits_calls(part, choice) or not self._permits_blocks(part):
                    return False
                parts += [part.get(name) for name in _PARTS_UNDER]
        return True

    def _permits_blocks(self, part: dict[str, Any]) -> bool:
        """Judges blocks of content: gateways to Anthropic's API pass some on as they come."""
        content = part.get("content")
        blocks = content if isinstance(content, list) else [content]
        return all(self._permits_block(block, place) for place, block in enumerate(blocks)) and all(
            self._permits_block(part.get(name), part.get("index")) for name in _BLOCKS_UNDER
        )

    def _permits_block(self, block: object, place: object) -> bool:
        kind = block.get("type") if isinstance(block, dict) else None
        if not isinstance(block, dict) or not isinstance(kind, str) or not _calls(kind):
            return True
        if kind not in _CALLING_BLOCKS or not self._policy.permits(block.get("name")):
            return self._deny(label(block))
        self._blocks.update(_places(None, place))
        return True

    def _permits_input(self, payload: dict[str, Any]) -> bool:
        """Judges a piece of the arguments of a call that a block began."""
        delta = payload.get("delta")
        if not isinstance(delta, dict) or not delta.get("partial_json"):
            return True
        return not self._blocks.isdisjoint(_places(None, payload.get("index")))

    def _permits_calls(self, part: dict[str, Any], choice: int) -> bool:
        legacy = part.get("function_call")
        if legacy and not self._permits_call({"function": legacy}, (choice, _LEGACY)):
            return False
        calls = part.get("tool_calls")
        if not calls:
            return True
        if not isinstance(calls, list):
            return False
        return all(
            self._permits_call(call, (choice, _number(call, place)))
            for place, call in enumerate(calls)
        )

    def _permits_call(self, call: object, place: tuple[int, int]) -> bool:
        """Judges a call or a piece of one: the name comes with the first piece, and a call that has an id is another one."""
        if not isinstance(call, dict):
            return False
        if call.get("type") not in (None, "", "function", "custom"):
            return self._deny(label(call))
        said = [call, call.get("function"), call.get("custom")]
        parts = [part for part in said if isinstance(part, dict)]
        if any(part and not isinstance(part, dict) for part in said):
            return False
        known = self._names.get(place)
        for part in parts:
            name = part.get("name")
            if not name:
                continue
            if not self._policy.permits(name) or (
                known is not None and not _follows(call, name, known)
            ):
                return self._deny(label(part))
            known = self._names[place] = name
        return known is not None or not _has_arguments(parts)

    # -- any other shape -------------------------------------------------------------------------------------------

    def _permits_other(self, found: Found) -> bool:
        """Judges what may call a tool where none of the APIs has calls; what is known was judged, and is permitted again."""
        match found.why:
            case "type":
                return self._permits_block(found.value, None)
            case "name":
                is_named = isinstance(found.value, str)
                return not is_named or self._permits_named(found.value)
            case "runs":
                return self._deny("executable_code")
            case "calls":
                calls = found.value if isinstance(found.value, list) else [found.value]
                return all(self._permits_other_call(one) for one in calls if isinstance(one, dict))

    def _permits_other_call(self, call: dict[str, Any]) -> bool:
        parts = [call, call.get("function"), call.get("custom")]
        holders = [part for part in parts if isinstance(part, dict)]
        names = [part["name"] for part in holders if part.get("name")]
        if names:
            self._has_named_another = True
            return all(map(self._permits_named, names))
        # pieces in other shapes do not say of which call they are
        has_arguments = any(part.get(key) for part in holders for key in _OTHER_ARGUMENT_KEYS)
        begun = self._names or self._items or self._blocks or self._has_named_another
        return bool(begun) or not has_arguments

    def _permits_named(self, name: object) -> bool:
        return self._policy.permits(name) or self._deny(label({"name": name}))

    # -- the Responses API -----------------------------------------------------------------------------------------

    def _permits_event(self, kind: str, payload: dict[str, Any]) -> bool:
        if not kind.startswith("response."):
            return True
        subject = kind.split(".")[1]
        if subject in _ARGUMENTS:
            name = payload.get("name")
            if name is not None and not self._policy.permits(name):
                return self._deny(label(payload))
            return not self._items.isdisjoint(
                _places(payload.get("item_id"), payload.get("output_index"))
            )
        if "call" in subject or "mcp" in subject or "tool" in subject:
            return self._deny(printable(subject))
        return True

    def _permits_items(self, items: object) -> bool:
        if items is None:
            return True
        if not isinstance(items, list):
            return False
        return all(
            item is not None and self._permits_item(item, place) for place, item in enumerate(items)
        )

    def _permits_item(self, item: object, place: object) -> bool:
        if item is None:
            return True
        if not isinstance(item, dict):
            return False
        kind = item.get("type")
        if kind in _OTHER_ITEMS:
            return self._permits_parts(item, _NO_CHOICE)
        if kind not in _NAMED_CALLS or not self._policy.permits(item.get("name")):
            return self._deny(label(item))
        self._items.update(_places(item.get("id"), place))
        return True

    def _deny(self, name: str) -> bool:
        """Notes what is called; returns that it may not be."""
        self.denied = name
        return False


def _calls(kind: str) -> bool:
    """Returns whether a block of this type calls something."""
    return not kind.endswith(_TOLD_WORDS) and any(word in kind for word in _CALLING_WORDS)


def _follows(call: dict[str, Any], name: str, known: str) -> bool:
    """Returns whether a further name is the first one again, or that of another call; clients would join anything else to it."""
    return name == known or bool(call.get("id"))


def _has_arguments(parts: list[dict[str, Any]]) -> bool:
    return any(part.get(key) for part in parts for key in _ARGUMENT_KEYS)


def _number(holder: object, place: int) -> int:
    """Returns the index that a choice or call gives itself; some providers give none."""
    index = holder.get("index") if isinstance(holder, dict) else None
    return index if isinstance(index, int) else place


def _places(identity: object, place: object) -> list[object]:
    """Returns by what an item is known: its id, and its place in the output."""
    return [one for one in (identity, place) if isinstance(one, str | int)]
