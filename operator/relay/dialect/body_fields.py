"""The fields of a request body that the relay reads, by their place in a scan's result.

A scan returns one tuple of spans. A span is the half-open range of bytes (start, end) where a value stands, without the
blanks around it; None says that the field is absent. Of a key that stands twice the last counts, however it is spelled.
"""

from typing import Final

Span = tuple[int, int]
Spans = tuple[Span | None, ...]
Reports = tuple[int, int, int, int, int, int]
"""Spans of an answer's usage, model and service tier, one after the other; empty where it has none."""
PlainAnswer = tuple[bytes, int, int, int, int]
"""The report of an answer (relay.dialect.usage.billed_usage.labels_of), then its tokens in the order of
relay.dialect.reported_usage.Tokens."""

MODEL: Final = 0
EARLIER_MODEL: Final = 1
"""A `model` before the last one: providers differ in which of two equal keys counts."""
STREAM: Final = 2
STREAM_OPTIONS: Final = 3
INCLUDE_USAGE: Final = 4
"""`include_usage` inside `stream_options`, where that is an object."""
MAX_COMPLETION_TOKENS: Final = 5
MAX_TOKENS: Final = 6
MAX_OUTPUT_TOKENS: Final = 7
N: Final = 8
BEST_OF: Final = 9
"""As N, but counted where only one of them is returned."""
PREVIOUS_RESPONSE_ID: Final = 10
PROMPT_CACHE_KEY: Final = 11
MESSAGES: Final = 12
INPUT: Final = 13
"""The opening of `input`: the value itself, of a list its first item that is no system or developer message, of an object
its `content`.

An empty span at the value's place says that the list or the object has none.
"""
PROMPT: Final = 14
"""The opening of `prompt`, found as that of `input`."""
INSTRUCTIONS: Final = 15
CONVERSATION: Final = 16
"""A conversation of the Responses API, stored at the provider: its id, or an object with it."""
EARLIER_BOUND: Final = 17
"""A bound of the answer, or a number of choices, before the last one of the same name: providers differ in which counts."""
BOUNDS: Final = frozenset({MAX_COMPLETION_TOKENS, MAX_TOKENS, MAX_OUTPUT_TOKENS, N, BEST_OF})
FIRST_OPENING: Final = 18
"""From here on: the contents of the system and developer messages up to the first user message, and of that one.

Present where `messages` is a list with a user message. A message without content has an empty span.
"""

MAX_OPENING_MESSAGES: Final = 64
"""So many messages are searched for the first one of a user."""
MAX_NESTING: Final = 512
"""More open brackets than that are no body: orjson and jiter, which the large providers' servers parse with, stop at 1,024
and 200, and Python's own decoder at about 990.
"""
MAX_MEMBERS: Final = 128
"""More members of a body than that are not looked through one by one; no provider has as many parameters."""
