"""The error object of the OpenAI API, made of what providers send in its place.

vLLM sends a flat object, TGI and Ollama a text, FastAPI `detail`, Gemini a list, Mistral an object for the message, others
`message`, `errors` or the problem document of RFC 9457. Clients go by the words, so they stay; the rest is bounded.
"""

from typing import Any, Final

from relay.dialect.refusals import INVALID, SERVER

MAX_MESSAGE_CHARACTERS: Final = 4096
_MAX_WORD_CHARACTERS: Final = 128
_MOST_TEXTS: Final = 8
_MOST_LEVELS: Final = 4
_TEXT_FIELDS: Final = (
    *("message", "error", "detail", "msg", "error_message", "errorMessage", "error_description"),
    *("Message", "statusMessage", "errors", "reason", "description", "title", "text"),
)
"""Fields in which providers describe an error, the likeliest first."""
_TYPE_FIELDS: Final = ("type", "error_type", "status")


def has_openai_shape(document: object) -> bool:
    """Says if this is what callers of the OpenAI API expect, whatever else it holds."""
    error = document.get("error") if isinstance(document, dict) else None
    return isinstance(error, dict) and isinstance(error.get("message"), str)


def has_error_object(document: object) -> bool:
    """Says if there is an error object, though it may say nothing in words."""
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def error_object(document: object, *, status: int) -> dict[str, Any] | None:
    """Returns the error object for a document of another shape; None if it says nothing in words."""
    message = text_of(document)
    if not message:
        return None
    if isinstance(document, list):
        document = document[0]
    around: dict[str, Any] = document if isinstance(document, dict) else {}
    error = around.get("error")
    details: dict[str, Any] = error if isinstance(error, dict) else around
    return {
        "message": message,
        "type": _type(details) or _type(around) or (SERVER if status >= 500 else INVALID),
        "param": _word(details.get("param")),
        "code": _code(details.get("code")),
    }


def text_of(value: object, levels: int = _MOST_LEVELS) -> str:
    """Returns what the value says in words, of a list the first few texts; empty where it says nothing."""
    if isinstance(value, str):
        return bounded(value.strip())
    if levels == 0:
        return ""
    if isinstance(value, list):
        texts = [text_of(item, levels - 1) for item in value[:_MOST_TEXTS]]
        return bounded("; ".join(text for text in texts if text))
    if isinstance(value, dict):
        for name in _TEXT_FIELDS:
            text = text_of(value.get(name), levels - 1)
            if text:
                return bounded(_place(value) + text)
    return ""


def bounded(text: str) -> str:
    """Cuts a text that is longer than a message needs to be."""
    if len(text) <= MAX_MESSAGE_CHARACTERS:
        return text
    return text[: MAX_MESSAGE_CHARACTERS - 1] + "\u2026"


def _place(item: dict[str, Any]) -> str:
    """Returns where FastAPI found the mistake, as `body.messages.0.role: `."""
    place = item.get("loc")
    if not isinstance(place, list) or not place:
        return ""
    return ".".join(str(part) for part in place[:_MOST_TEXTS] if isinstance(part, str | int)) + ": "


def _type(details: dict[str, Any]) -> str | None:
    for name in _TYPE_FIELDS:
        word = _word(details.get(name))
        # RFC 9457 has an address there
        if word is not None and ":" not in word and word != "error":
            return word
    return None


def _code(code: object) -> str | int | None:
    return code if type(code) is int else _word(code)


def _word(value: object) -> str | None:
    return value[:_MAX_WORD_CHARACTERS] if isinstance(value, str) and value else None
