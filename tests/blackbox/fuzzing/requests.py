"""Requests as a fuzzer sends them: good ones, odd ones that are legal, bodies that are made to cost, and damaged bytes."""

import json
import random
from typing import Any, Final

from tests.blackbox.fuzzing.plays import Ending, Play, Script, cut, damaged
from tests.blackbox.tenant import KEY, OTHER_KEY

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = [{"role": "user", "content": "hello"}]
PLAIN: Final[dict[str, dict[str, Any]]] = {
    CHAT: {"messages": MESSAGES},
    "/v1/completions": {"prompt": "hello"},
    "/v1/embeddings": {"input": "hello"},
    "/v1/responses": {"input": "hello"},
}
FIELDS: Final[tuple[dict[str, Any], ...]] = (
    *({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    *({"stream": True, "stream_options": {}}, {"stream": "yes"}, {"stream": None}, {"stream": 1}),
    *({"max_tokens": 1}, {"max_tokens": -1}, {"max_completion_tokens": 2**63}, {"max_tokens": 1e308}),
    *({"n": 2}, {"n": 10**9}, {"n": 0}, {"n": -5}, {"best_of": 100}, {"user": 5}, {"prompt_cache_key": "k"}),
    *({"previous_response_id": "resp_1"}, {"previous_response_id": {"a": 1}}, {"model": "nobody"}),
    *({"model": None}, {"model": 5}, {"messages": None}, {"messages": [[]]}, {"input": ["a"] * 50}),
    *({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"model": 1}}}]},),
    *({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 9000}}]}]},),
)  # fmt: skip
RAW: Final = (
    *(rb"", rb"{}", rb"[]", rb"null", rb"5", rb'"x"', rb"{", rb'{"model":}', b"\xef\xbb\xbf{}", b"\x00"),
    *(rb'{"model":"gpt-4.1","model":"gpt-4.1-mini","messages":[]}', rb'{"model":"gpt-4.1","MODEL":"x","messages":[]}'),
    *(rb'{"model":"gpt-4\u002e1","messages":[]}', rb'{"m\u006fdel":"gpt-4.1","messages":[]}'),
    *(rb'{"model":"gpt-4.1","stream":true,"stream_options":{"a":"\ud800"},"messages":[]}',),
    *(rb'{"model":"gpt-4.1","stream":true,"stream":false,"messages":[]}',),
    *(b'{"model":"gpt-4.1","x":[' + b"{}," * 20_000 + b"{}]}", b'{"model":"gpt-4.1","x":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    *(b'{"model":"gpt-4.1","messages":' + b"[" * 900 + b'"x"' + b"]" * 900 + b"}",),
    *(b'{"model":"gpt-4.1","messages":[{"role":"user","content":"' + b"\\u00e9\\n" * 9000 + b'"}]}',),
    *('{"model":"gpt-4.1","messages":[]}'.encode("utf-16"), '{"model":"gpt-4.1","messages":[]}'.encode("utf-32-le")),
    *(b'{"model":"gpt-4.1","messages":[{"role":"user","content":"\xe9"}]}', b" " * 70_000 + b'{"model":"gpt-4.1","messages":[]}'),
    *(b'{"model":"gpt-4.1","messages":[{"role":"user","content":"' + b"x" * 300_000 + b'"}]}',),
)  # fmt: skip
HEADERS: Final = (
    *(b"Connection: close", b"Connection: keep-alive, X-A\r\nX-A: 1", b"Connection: x-b\r\nConnection: X-A\r\nX-A: 1"),
    *(b"Expect: 100-continue", b"Expect: 200-ok", b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA"),
    *(b"Upgrade: websocket\r\nConnection: upgrade", b"Host: other", b"TE: trailers", b"Content-Encoding: gzip"),
    *(b"Accept-Encoding: gzip, br", b"X-Session-ID: s", b"X-Request-Priority: high", b"X-Task-Type: reasoning"),
    *(b"X-Long: " + b"a" * 20_000, b"X-Longer: " + b"a" * 40_000, b"\r\n".join(b"X-%d: 1" % n for n in range(120))),
    *(b"X-Empty:", b"X-Obs: \xff\xfe", b"Cookie: a=b", b"traceparent: 00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"),
    *(b"X-Request-ID: a b", b"X-Fold: a\r\n b", b"Bad Name: 1", b"X-Tenant-ID: other", b"Content-Type: text/plain"),
)  # fmt: skip
TARGETS: Final = (b"/", b"/v1/models", b"/v1/me", b"/v1/models/gpt-4.1", b"/v1/nothing", b"*", b"//v1/models",
                  b"/v1/chat/completions?x=%ff&y", b"http://relay.test/v1/models", b"/v1/models?" + b"q" * 9000)  # fmt: skip


def body(rng: random.Random, path: str, marker: str) -> bytes:
    """Returns a body for the path: good more often than not."""
    if rng.random() < 0.2:
        return rng.choice(RAW)
    fields: dict[str, Any] = {"model": "gpt-4.1", **PLAIN[path], "user": marker}
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        fields |= rng.choice(FIELDS)
    text = json.dumps(fields).encode()
    return damaged(rng, text) if rng.random() < 0.1 else text


def _framed(rng: random.Random, content: bytes) -> tuple[list[bytes], bytes]:
    """Returns the fields that frame the body, and the body as it is sent."""
    if rng.random() < 0.7:
        return [b"Content-Length: %d" % len(content)], content
    size = rng.choice([1, 2, 7, 100, 5000]) if len(content) < 3000 else 5000
    extension = rng.choice([b"", b"", b";a=b", b';a="' + b"q" * 50 + b'"'])
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    chunks = [b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces]
    trailers = rng.choice([b"", b"", b"X-T: 1\r\n", b"X-T: 1\r\n" * 50, b"Content-Length: 3\r\n"])
    return [b"Transfer-Encoding: chunked"], b"".join(chunks) + b"0\r\n" + trailers + b"\r\n"


def request(rng: random.Random, play: str, call: int, *, odd: float) -> tuple[bytes, bool]:
    """Returns one request, and whether it asks for a head only; odd: how probable each unusual thing is."""
    marker = f"{play}-{call:02d}"
    key = rng.choice([KEY, OTHER_KEY]) if rng.random() > odd / 4 else "sk-relay-nobody"
    fields = [b"Host: relay.test", b"X-Request-ID: " + marker.encode()]
    if rng.random() > odd / 4:
        fields.append(b"Authorization: Bearer " + key.encode())
    while rng.random() < odd:
        fields.append(rng.choice(HEADERS))
    method, sent = b"POST", b""
    if rng.random() < odd / 2:
        method, target = rng.choice([b"GET", b"GET", b"HEAD", b"PUT", b"OPTIONS"]), rng.choice(TARGETS)  # fmt: skip
    else:
        path = rng.choice(list(PLAIN))
        target = path.encode()
        framing, sent = _framed(rng, body(rng, path, marker))
        fields += framing
    rng.shuffle(fields)
    version = b"1.1" if rng.random() > odd / 10 else b"1.0"
    head = b"%b %b HTTP/%b\r\n%b\r\n\r\n" % (method, target, version, b"\r\n".join(fields))
    return head + sent, method == b"HEAD"


def hostile_client(rng: random.Random, marker: str, answers: tuple[Script, ...]) -> Play:
    """Returns a connection with odd and damaged requests, pipelined, cut anywhere, and left at any byte."""
    calls = rng.choice([1, 1, 1, 2, 3, 5])
    made = [request(rng, marker, call, odd=0.3) for call in range(calls)]
    text = b"".join(part for part, _ in made)
    heads = frozenset(call for call, (_, head) in enumerate(made) if head)
    damage = rng.random() < 0.5
    # what is damaged may ask for a head only at another place
    if damage and not heads:
        text = damaged(rng, text)
    ending: Ending = rng.choice(["close", "reset"])
    return Play(
        marker,
        sends=cut(rng, text[: rng.randrange(len(text) + 1)] if rng.random() < 0.2 else text),
        answers=answers,
        calls=calls,
        orderly=False,
        patience=rng.choice([0.0, 0.02, 0.2, 0.2, 0.2, None]),
        reads=rng.choice([None, None, None, 0, 1, 50, 300, 2000]),
        ending=ending,
        heads_only=heads,
    )


def polite_client(rng: random.Random, marker: str, answers: tuple[Script, ...]) -> Play:
    """Returns a connection with good requests alone, so that every answer must come, in order."""
    calls = rng.choice([1, 1, 2, 4])
    text = b"".join(_good(rng, marker, call) for call in range(calls))
    leaves = rng.random() < 0.15
    ending: Ending = rng.choice(["close", "reset", "stall"]) if leaves else "close"
    return Play(
        marker,
        sends=cut(rng, text, pauses=False),
        answers=answers,
        calls=calls,
        reads=rng.choice([0, 1, 100, 400, 5000]) if leaves else None,
        ending=ending,
    )


def steady_client(
    marker: str, answers: tuple[Script, ...], *, calls: int, fields: dict[str, Any], fair: bool
) -> Play:
    """Returns a connection with chat calls of one kind, each after the answer before; at its end it asks for the methods."""
    texts = [_call(marker, call, CHAT, fields) for call in range(calls)]
    options = (
        f"OPTIONS {CHAT} HTTP/1.1\r\nhost: relay.test\r\nx-request-id: {marker}-{calls:02d}\r\n\r\n"
    )
    return Play(
        marker,
        sends=(b"".join(texts) + options.encode(),),
        answers=answers,
        calls=calls + 1,
        fair=fair,
    )


def _call(play: str, call: int, path: str, fields: dict[str, Any], key: str = KEY) -> bytes:
    marker = f"{play}-{call:02d}"
    text = json.dumps({"model": "gpt-4.1", **PLAIN[path], "user": marker, **fields}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: relay.test\r\nauthorization: Bearer {key}\r\n"
    return f"{head}x-request-id: {marker}\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text


def _good(rng: random.Random, play: str, call: int) -> bytes:
    path = rng.choice([CHAT, *PLAIN])
    fields: dict[str, Any] = {}
    if rng.random() < 0.6 and path != "/v1/embeddings":
        fields["stream"] = True
    if rng.random() < 0.3:
        fields["stream_options"] = {"include_usage": True}
    if rng.random() < 0.05:
        fields["padding"] = "x" * rng.choice([20_000, 600_000])
    return _call(play, call, path, fields, rng.choice([KEY, OTHER_KEY]))
