"""Answers as a fuzzer's provider gives them: good ones, those that providers really give, and damaged bytes."""

import gzip
import json
import random
import zlib
from typing import Any, Final

from tests.blackbox.fuzzing.plays import PLACEHOLDER, Script, Step, cut, damaged

MARK: Final = PLACEHOLDER.decode()
SENTINEL: Final = b"\x01"
USAGES: Final[tuple[Any, ...]] = (
    {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
    {"prompt_tokens": 2**63 - 1, "completion_tokens": 2**63 - 1},
    {"prompt_tokens": 2**64, "completion_tokens": 10**400},
    {"prompt_tokens": -1, "completion_tokens": -(2**63)},
    {"prompt_tokens": 1.5, "completion_tokens": "9"},
    {"prompt_tokens": True, "completion_tokens": None, "prompt_tokens_details": {"cached_tokens": 10**18}},
    *({"prompt_tokens": [], "prompt_tokens_details": []}, {}, [], None, 5, "many", {"a": {"usage": {}}}),
)  # fmt: skip
CHAT: Final = {"role": "assistant", "content": f"hi {MARK}"}
DOCUMENTS: Final[tuple[dict[str, Any], ...]] = (
    {"id": "c", "choices": [{"index": 0, "message": CHAT, "finish_reason": "stop"}]},
    {"id": "c", "choices": [{"index": 0, "text": MARK, "finish_reason": "stop"}]},
    {"id": "e", "object": "list", "data": [{"index": 0, "embedding": [0.1], "x": MARK}]},
    {"id": f"resp_{MARK}", "object": "response", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": MARK}]}]},
    {"id": "c", "choices": [{"message": {"role": "assistant", "content": MARK + "x" * 90_000}}]},
    *({"choices": []}, {"choices": None}, {"choices": [{}]}, {"data": []}, {"output": []}, {}),
    *({"error": {"message": MARK, "type": "server_error"}}, {"error": MARK}, {"error": {"code": 400, "message": MARK}}),
    *({"detail": MARK}, {"detail": [{"msg": MARK}]}, {"object": "error", "message": MARK, "code": 400}, {"error": None}),
    *({"error": {"message": 5, "code": {"a": 1}}}, {"error": []}, {"error": {"code": 10**30}}, {"error": {"code": "\ud800"}}),
)  # fmt: skip
RAW: Final = (
    *(b"", b" ", b"\n" * 5000, b"<html>%b</html>" % PLACEHOLDER, b"null", b"[]", b"\xff\xfe", b"\x1f\x8b", b"{"),
    *(b'[{"error":{"code":503,"message":"%b"}}]' % PLACEHOLDER, b"data: {", b"[" * 4000, b"x" * 70_000),
    *(b'{"choices":[{"message":{"content":"\\ud800"}}]}', b'{"choices":[{"message":{"content":"' + b"[" * 2000 + b'"}}]}'),
    *(b'{"choices":' + b"[" * 1100 + b"]" * 1100 + b"}", b'{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2}}'),
)  # fmt: skip
STATUSES: Final = (*[200] * 12, 201, 202, 204, 205, 206, 226, 299, 300, 301, 302, 304, 307, 400, 401, 402, 403, 404, 408,
                   409, 413, 418, 422, 429, 429, 451, 499, 500, 501, 502, 503, 503, 504, 529, 599, 600, 999)  # fmt: skip
TYPES: Final = (b"", b"application/json", b"application/json", b"text/event-stream", b"text/event-stream", b"Text/Event-Stream;charset=utf-8",
                b"text/html", b"application/x-ndjson", b"text/plain", b"application/octet-stream", b"\xff")  # fmt: skip
FIELDS: Final = (
    *(b"Connection: close", b"Connection: keep-alive", b"Connection: x-a, close\r\nX-A: 1", b"Keep-Alive: timeout=1"),
    *(b"X-Request-ID: up", b"X-Request-ID: a b", b"Retry-After: 5", b"Retry-After: -1", b"retry-after-ms: 1e9", b"Set-Cookie: a=b"),
    *(b"Trailer: X-T", b"Upgrade: h2c", b"Location: http://127.0.0.1:1/", b"X-Big: " + b"a" * 9000, b"X-Obs: \xff\xfe"),
    *(b"X-Huge: " + b"a" * 140_000, b"\r\n".join(b"X-%d: 1" % n for n in range(210)), b"X-Fold: a\r\n b", b"X-Empty:"),
    *(b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length:"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip"),
)  # fmt: skip
BEYOND: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
INTERIM: Final = (
    *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"),
    *(b"HTTP/1.1 100 Continue\r\n\r\n" * 30, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
    *(b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 199 x\r\n\r\n", b"\r\n"),
)  # fmt: skip


def event(value: Any) -> bytes:
    """Returns one event with this data."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _delta(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    return event(
        {"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}
    )


def _response(kind: str, number: int, **fields: Any) -> bytes:
    payload = {"type": kind, "sequence_number": number, **fields}
    return b"event: " + kind.encode() + b"\n" + event(payload)


CHAT_STREAM: Final = (
    _delta({"role": "assistant"}),
    _delta({"content": f"hi {MARK}"}),
    _delta({}, "stop"),
    event({"id": "c", "choices": [], "usage": USAGES[0]}),
    b"data: [DONE]\n\n",
)
RESPONSE_STREAM: Final = (
    _response("response.created", 0, response={"id": f"resp_{MARK}"}),
    _response("response.output_text.delta", 1, delta=MARK),
    _response("response.completed", 2, response={"id": f"resp_{MARK}", "status": "completed", "output": [], "usage": USAGES[1]}),
)  # fmt: skip
TEXT_STREAM: Final = (
    event({"id": "c", "choices": [{"index": 0, "text": MARK, "finish_reason": "stop"}]}),
    b"data: [DONE]\n\n",
)
STREAMS: Final = (CHAT_STREAM, CHAT_STREAM, RESPONSE_STREAM, TEXT_STREAM)
EVENTS: Final = (
    *(b": comment\n\n", b"\n", b"\n\n", b"retry: 5\n\n", b"event: ping\ndata: {}\n\n", b"data: \n\n", b"data\n\n", b"id: 1\n\n"),
    *(event({"error": {"message": MARK, "type": "server_error"}}), event({"error": {"message": MARK, "code": 400}}), event({"error": MARK})),
    *(b"event: error\n" + event({"message": MARK}), _response("response.failed", 3, response={"error": {"message": MARK}}), _response("error", 3, message=MARK)),
    *(_delta({"content": "x" * 70_000}), _delta({"content": "y"}, index=3), _delta({"tool_calls": [{"index": 0}]}), b"data: {\"choices\":[\n\n"),
    *(event({"id": "c", "choices": [], "error": {"message": MARK}, "usage": USAGES[0]}), b"data: [DONE]\n\n", b"data: " + b"z" * 200_000 + b"\n\n"),
    *(_response("response.completed", 9, response={"id": "r", "output": ["o" * 150_000], "usage": USAGES[1]}), event([1]), b"event: error\n\n"),
    *(b'data: {"choices":[{"delta":{"content":"a"}}],\ndata: "usage":{"prompt_tokens":1}}\n\n', _response("response.incomplete", 10**12, response={})),
)  # fmt: skip


def _text(rng: random.Random) -> tuple[bytes, bool]:
    """Returns the text of an answer, and whether it is a stream of events."""
    chance = rng.random()
    if chance < 0.35:
        document = dict(rng.choice(DOCUMENTS[:4] if rng.random() < 0.6 else DOCUMENTS))
        if rng.random() < 0.8:
            document["usage"] = rng.choice(USAGES)
        return json.dumps(document).encode(), False
    if chance < 0.45:
        return rng.choice(RAW), False
    events = list(rng.choice(STREAMS))
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        place = rng.randrange(len(events) + 1)
        if rng.random() < 0.5:
            events.insert(place, rng.choice(EVENTS))
        elif rng.random() < 0.5:
            events.insert(place, event({"choices": [], "usage": rng.choice(USAGES)}))
        else:
            del events[place : place + 1]
    text = b"".join(events)
    line_end = rng.choice([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
    return text.replace(b"\n", line_end), True


def _coded(rng: random.Random, text: bytes) -> tuple[bytes, list[bytes]]:
    if rng.random() > 0.15:
        return text, []
    coding = rng.choice([b"gzip", b"GZIP", b"x-gzip", b"deflate", b"br", b"identity", b"gzip, gzip", b"zstd", b""])  # fmt: skip
    packed = {b"gzip": gzip.compress(text, 1), b"deflate": zlib.compress(text, 1)}
    return packed.get(coding.lower(), text), [b"Content-Encoding: " + coding]


def _framed(rng: random.Random, text: bytes) -> tuple[list[bytes], bytes, bool]:
    """Returns the fields that frame the body, the body as it is sent, and whether only the close ends it."""
    chance = rng.random()
    if chance < 0.4:
        return [b"Content-Length: %d" % len(text)], text, False
    if chance < 0.5:
        return [], text, True
    size = max(1, len(text) // rng.choice([1, 1, 2, 5, 30]))
    extension = rng.choice([b"", b"", b"", b";a=b"])
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    chunks = [b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts]
    trailers = rng.choice([b"", b"", b"", b"X-T: 1\r\n", b"Content-Length: 3\r\n", b"X-T: 1\r\n" * 300, b"X-T: " + b"t" * 140_000 + b"\r\n"])  # fmt: skip
    return [b"Transfer-Encoding: chunked"], b"".join(chunks) + b"0\r\n" + trailers + b"\r\n", False


def answer(rng: random.Random) -> Script:
    """Returns an answer of any kind."""
    text, is_stream = _text(rng)
    text, fields = _coded(rng, text)
    media = b"text/event-stream" if is_stream else b"application/json"
    if rng.random() < 0.15:
        media = rng.choice(TYPES)
    framing, sent, until_close = _framed(rng, text)
    status = rng.choice(STATUSES) if rng.random() < 0.4 else 200
    fields += [b"Content-Type: " + media, *framing]
    while rng.random() < 0.15:
        fields.append(rng.choice(FIELDS))
    rng.shuffle(fields)
    version = b"HTTP/1.1" if rng.random() < 0.95 else rng.choice([b"HTTP/1.0", b"HTTP/2.0", b"ICY", b"http/1.1"])  # fmt: skip
    whole = b"%b %d x\r\n%b\r\n\r\n%b" % (version, status, b"\r\n".join(fields), sent)
    if rng.random() < 0.08:
        whole = rng.choice(INTERIM) + whole
    if rng.random() < 0.15:
        whole = damaged(rng, whole)
    if rng.random() < 0.03:
        whole += rng.choice([b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", whole])
    return (*_early(rng), *cut(rng, whole), *_last(rng, until_close=until_close))


def _early(rng: random.Random) -> tuple[Step, ...]:
    return ("early",) if rng.random() < 0.05 else ()


def _last(rng: random.Random, *, until_close: bool) -> tuple[Step, ...]:
    if until_close:
        return (rng.choice(["close", "close", "close", "half", "reset"]),)
    return (rng.choice(["close", "half", "reset", "silence", 0.05]),) if rng.random() < 0.15 else ()


def fair(rng: random.Random, *, streamed: bool, large: bool) -> Script:
    """Returns a good answer to a chat call, in a way that tries how the relay tells its end.

    Bytes beyond it come in one write with its last ones, so that the relay can know that they do not belong to the next call.
    """
    text = (
        b"".join(CHAT_STREAM)
        if streamed
        else json.dumps({**DOCUMENTS[0], "usage": USAGES[0]}).encode()
    )
    media = b"text/event-stream" if streamed else b"application/json"
    framing, sent = [b"Content-Length: %d" % len(text)], text
    if rng.random() < 0.5:
        framing = [b"Transfer-Encoding: chunked"]
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text)
    head = b"HTTP/1.1 200 x\r\n%b\r\n\r\n" % b"\r\n".join([b"Content-Type: " + media, *framing])
    if rng.random() < 0.2:
        head = rng.choice(INTERIM[:3]) + head
    # one byte, so that no cut goes through it
    whole = (head + sent).replace(PLACEHOLDER, SENTINEL)
    *pieces, last = (
        piece.replace(SENTINEL, PLACEHOLDER) if isinstance(piece, bytes) else piece
        for piece in cut(rng, whole)
    )
    if isinstance(last, float):
        *pieces, last = pieces
    assert isinstance(last, bytes)
    if rng.random() < 0.4:
        last += rng.choice([b"x", b"\r\n0\r\n\r\n", BEYOND, BEYOND * 2, head + sent])
    early: tuple[Step, ...] = ("ahead",) if large else ()
    return (*early, *pieces, last)


def bodiless(rng: random.Random) -> Script:
    """Returns an answer of a status that has no body, framed as if it had one."""
    status = rng.choice([204, 204, 205, 304])
    size = rng.choice([0, 5, 100_000 if status == 205 else 5])
    body = b"x" * size
    framing = b"Content-Length: %d" % size
    if rng.random() < 0.5:
        framing = b"Transfer-Encoding: chunked"
        body = (b"%x\r\n%b\r\n" % (size, body) if size else b"") + b"0\r\n\r\n"
    return (b"HTTP/1.1 %d x\r\n%b\r\n\r\n%b" % (status, framing, body),)


def torn(rng: random.Random) -> Script:
    """Returns an answer that ends at any byte."""
    script = answer(rng)
    whole = b"".join(step for step in script if isinstance(step, bytes))
    end: Step = rng.choice(["close", "reset", "half", "silence"])
    return (*cut(rng, whole[: rng.randrange(len(whole) + 1)]), end)


def good(rng: random.Random) -> Script:
    """Returns a good answer to a chat call."""
    text = json.dumps({**DOCUMENTS[0], "usage": USAGES[0]}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return (head % len(text) + text, *((0.01,) if rng.random() < 0.2 else ()))
