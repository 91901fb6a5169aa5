"""Streams of chat completions as providers send them, made of texts whose tokens are known, and read by the relay's own scan."""

import json
import math
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

from relay.dialect.answers.event_stream import SseScan

Tokenizer = Callable[[str], list[bytes]]
"""Splits a text into its tokens."""
OBFUSCATED_CHARACTERS: Final = 14
"""OpenAI fills up its pieces, so that nobody on the way can read from their lengths what they say."""
_LEAST_BYTES: Final = 64


class Form:
    """Says how a provider sends tokens: how many in a piece, non-ASCII as JSON escapes or not, filled up or not."""

    def __init__(
        self, most: int, *, least: int = 0, escaped: bool = False, filled: bool = False
    ) -> None:
        self.least = least or most
        self.most = most
        self.escaped = escaped
        self.filled = filled

    def event(self, text: str) -> bytes:
        """Returns a piece of text as an event."""
        payload = {
            "id": "chatcmpl-Bk3nT0pQ",
            "object": "chat.completion.chunk",
            "created": 1764313731,
            "model": "gpt-4.1-2025-04-14",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
        }
        if self.filled:
            payload["obfuscation"] = "x" * max(0, OBFUSCATED_CHARACTERS - len(text))
        data = json.dumps(payload).encode() if self.escaped else orjson.dumps(payload)
        return b"data: " + data + b"\n\n"


FORMS: Final = {
    "a token each": Form(1),
    "a token each, filled up": Form(1, filled=True),
    "a token each, escaped": Form(1, escaped=True),
    "four tokens each": Form(4),
    "1 to 40 tokens each": Form(40, least=1),
}
_ROLE: Final = Form(1).event("").replace(b'"delta":{', b'"delta":{"role":"assistant",')


class Seen:
    """Holds what the relay has of a stream that broke off, and the tokens that its provider made until then, thoughts included."""

    def __init__(self, scan: SseScan, text: str, tokens: int, thoughts: int) -> None:
        self.pieces = scan.text_pieces()
        self.bytes = scan.text_bytes()
        self.text = text
        self.tokens = tokens
        self.thoughts = thoughts


class Streams:
    """Streams of texts of some kinds, drawn at random from a seed; kinds maps a kind to its text and weight."""

    def __init__(
        self,
        kinds: dict[str, tuple[str, int]],
        form: Form,
        tokens: Tokenizer,
        *,
        thoughts: int = 0,
        seed: int = 7,
    ) -> None:
        self._kinds = kinds
        self._form = form
        self._tokens = tokens
        self._thoughts = thoughts
        self._random = random.Random(seed)

    def next(self, *parts: float) -> tuple[str, list[Seen]]:
        """Returns the kind of the next stream, and what had been seen of it after these parts."""
        draw = self._random
        kind = draw.choices(list(self._kinds), [weight for _, weight in self._kinds.values()])[0]
        thoughts = int(draw.lognormvariate(math.log(self._thoughts), 1)) if self._thoughts else 0
        pieces = list(self._pieces(self._text(self._kinds[kind][0])))
        return kind, [
            self._seen(pieces[: max(1, int(len(pieces) * part))], thoughts) for part in parts
        ]

    def _text(self, text: str) -> str:
        """Returns a part of the text; lengths are log-normal, as those of answers are, around 1,200 bytes."""
        wanted = int(
            self._random.lognormvariate(math.log(1200), 0.8) * len(text) / len(text.encode())
        )
        size = max(_LEAST_BYTES, min(wanted, len(text) // 2))
        start = self._random.randrange(len(text) - size)
        return text[start : start + size]

    def _pieces(self, text: str) -> Iterator[tuple[str, int]]:
        """Yields the text as it is sent, and the tokens in each piece: characters are never divided."""
        held, count = b"", 0
        wanted = self._random.randint(self._form.least, self._form.most)
        for token in self._tokens(text):
            held += token
            count += 1
            if count >= wanted and _is_whole(held):
                yield held.decode(), count
                held, count = b"", 0
                wanted = self._random.randint(self._form.least, self._form.most)
        if held:
            yield held.decode(errors="replace"), count

    def _seen(self, pieces: list[tuple[str, int]], thoughts: int) -> Seen:
        scan = SseScan(hide_usage=False)
        scan.feed(_ROLE)
        for text, _ in pieces:
            scan.feed(self._form.event(text))
        tokens = thoughts + sum(count for _, count in pieces)
        return Seen(scan, "".join(text for text, _ in pieces), tokens, thoughts)


def _is_whole(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def splitter(encoding: Any) -> Tokenizer:
    """Makes a tokenizer of an encoding of bpe-openai, which knows a token's bytes by its number."""
    known: dict[int, bytes] = {}

    def split(text: str) -> list[bytes]:
        found = []
        for number in encoding.encode(text):
            if number not in known:
                known[number] = encoding.decode_bytes([number])
            found.append(known[number])
        return found

    return split
