"""The body of a real chat: long, with code, escapes, text beyond ASCII, tools, and the model last."""

import json
import random
from typing import Final

MESSAGES: Final = 80
TOOLS: Final = 20
PLAIN: Final = [
    "please",
    "look",
    "at",
    "this",
    "code",
    "and",
    "tell",
    "me",
    "why",
    "it",
    "fails",
    "in",
    "the",
    "second",
    "call",
    "of",
    "the",
    "loop",
    "with",
    "an",
    "error",
    "about",
    "a",
    "missing",
    "argument",
    "in",
    "the",
    "list",
    "index",
    "of",
    "the",
    "caller",
]
RICH: Final = [
    "naïve",
    "café",
    "résumé",
    "Größe",
    "straße",
    "übung",
    "“quoted”",
    '"text"',
    "C:\\dir\\file",
    "def\tf(x):\n",
    "return\tx\n",
    "日本語",
    "テスト",
    "😀",
    "это",
    "пример",
]


def chat_body(model: str, *, seed: int) -> bytes:
    """Returns a chat call of about 100 KB; another seed gives other texts of about the same size."""
    chance = random.Random(seed)
    messages = [{"role": "system", "content": _text(chance, 1500)}]
    messages += [
        {"role": ("user", "assistant")[number % 2], "content": _text(chance, 900)}
        for number in range(MESSAGES - 1)
    ]
    call = {
        "messages": messages,
        "tools": [_tool(chance, number) for number in range(TOOLS)],
        "temperature": 0.2,
        "max_completion_tokens": 256,
        "model": model,
    }
    return json.dumps(call, ensure_ascii=False, separators=(",", ":")).encode()


def _text(chance: random.Random, size: int) -> str:
    words: list[str] = []
    length = 0
    while length < size:
        word = chance.choice(RICH if chance.random() < 0.25 else PLAIN)
        words.append(word)
        length += len(word) + 1
    return " ".join(words)


def _tool(chance: random.Random, number: int) -> dict[str, object]:
    properties = {
        f"p{index}": {"type": "string", "description": _text(chance, 60)} for index in range(5)
    }
    parameters = {"type": "object", "properties": properties, "required": ["p0"]}
    description = _text(chance, 200)
    function = {"name": f"tool_{number}", "description": description, "parameters": parameters}
    return {"type": "function", "function": function}
