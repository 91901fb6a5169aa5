"""Plans the answer to a request under the behaviour in force. No sockets."""

import math
import random
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import orjson
from tests.simulator.api import chat, errors, responses
from tests.simulator.api.call import BadCall, Call, Endpoint, Identity, parsed, usage_of
from tests.simulator.api.dialect import fragments, spoken
from tests.simulator.api.embeddings import embeddings
from tests.simulator.behaviour import Behaviour, BehaviourRejected, Fault, hits
from tests.simulator.quota import Quota
from tests.simulator.records import Record, Records

Header = tuple[bytes, bytes]
JSON_TYPE: Header = (b"content-type", b"application/json")
STREAM_TYPE: Header = (b"content-type", b"text/event-stream; charset=utf-8")
OVERRIDE_HEADER = b"x-simulate"
REMEMBERED_RESPONSES = 10_000
GARBAGE_BODY = b'<html>\xff\xfe<title>502 \x00 {"choices": [ '

_ENDPOINTS = {f"/v1/{endpoint.value}".encode(): endpoint for endpoint in Endpoint}


@dataclass(frozen=True, slots=True)
class Request:
    """A complete request; header names in lower case."""

    method: bytes
    target: bytes
    headers: list[Header]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """Returns the first header of that lower-case name."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan of an answer. events is None for a unary answer; behaviour is the one this call is served with."""

    status: int
    headers: tuple[Header, ...]
    body: bytes
    events: Iterator[bytes] | None
    behaviour: Behaviour
    latency_seconds: float = 0.0
    fault: Fault | None = None


class Provider:
    """A provider: its behaviour, its quota and its records."""

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        recorded_requests: int,
        allow_override: bool,
        seed: int | None,
        now: float,
        journal: TextIO | None = None,
    ) -> None:
        self.records = Records(recorded_requests, journal)
        self._initial = behaviour
        self._allow_override = allow_override
        self._chance = random.Random(seed)
        self._serial = self._chance.getrandbits(40) << 24
        self._responses: OrderedDict[str, None] = OrderedDict()
        self.behave(behaviour, now=now)

    def behave(self, behaviour: Behaviour, *, now: float) -> None:
        """Serves with this behaviour from now on; quota and error_first start again."""
        self.behaviour = behaviour
        self._errors_left = behaviour.error_first
        rate = behaviour.requests_per_minute
        self._quota = (
            Quota(requests_per_minute=rate, burst=behaviour.quota_burst, now=now) if rate else None
        )

    def reset(self, *, now: float) -> None:
        """Resets behaviour, quota, records and remembered responses to the start of the process."""
        self.records.reset()
        self._responses.clear()
        self.behave(self._initial, now=now)

    def plan(self, request: Request, record: Record, *, now: float, unix_time: float) -> Plan:
        """Returns the plan of the answer to a request. now is in monotonic seconds."""
        try:
            path = request.target.partition(b"?")[0]
            endpoint = _ENDPOINTS.get(path)
            record.endpoint = endpoint.value if endpoint is not None else ""
            behaviour = self._behaviour_of(request)
            self._authorise(request, behaviour)
            if path == b"/v1/models" or path.startswith(b"/v1/models/"):
                plan = self._models(request, path, behaviour)
            else:
                plan = self._call(
                    request, endpoint, record, behaviour, now=now, unix_time=unix_time
                )
        except BadCall as refusal:
            plan = _refused(refusal, self.behaviour)
        record.status = plan.status
        self.records.requests[(record.endpoint, record.model)] += 1
        self.records.statuses[plan.status] += 1
        return plan

    def _behaviour_of(self, request: Request) -> Behaviour:
        override = request.header(OVERRIDE_HEADER) if self._allow_override else None
        if override is None:
            return self.behaviour
        try:
            return self.behaviour.updated_from_json(override)
        except BehaviourRejected as error:
            raise BadCall(f"x-simulate: {error}") from error

    def _authorise(self, request: Request, behaviour: Behaviour) -> None:
        if behaviour.api_key is None:
            return
        key = behaviour.api_key.encode()
        if request.header(b"authorization") == b"Bearer " + key:
            return
        if key not in (request.header(b"api-key"), request.header(b"x-api-key")):
            raise BadCall("Incorrect API key provided.", status=401, code="invalid_api_key")

    def _models(self, request: Request, path: bytes, behaviour: Behaviour) -> Plan:
        if request.method != b"GET":
            raise BadCall("Not allowed to do this to models.", status=405)
        name = path[len(b"/v1/models/") :].decode("latin-1")
        if not name:
            return _unary(200, errors.model_list(behaviour.models), behaviour)
        if name not in behaviour.models:
            raise _unknown_model(name)
        return _unary(200, orjson.dumps(errors.model_object(name)), behaviour)

    def _call(
        self,
        request: Request,
        endpoint: Endpoint | None,
        record: Record,
        behaviour: Behaviour,
        *,
        now: float,
        unix_time: float,
    ) -> Plan:
        if endpoint is None:
            url = request.target.decode("latin-1")
            raise BadCall(f"Unknown request URL: {url}.", status=404)
        if request.method != b"POST":
            raise BadCall("Not allowed to do this to an endpoint of calls.", status=405)
        call = parsed(endpoint, request.body)
        record.model = call.model
        over_quota = self._over_quota(behaviour, now)
        if over_quota is not None:
            return over_quota
        if self._draws_error(behaviour):
            return self._error(record, behaviour)
        if behaviour.strict_models and call.model not in behaviour.models:
            raise _unknown_model(call.model)
        return self._answer(call, request, record, behaviour, unix_time=unix_time)

    def _over_quota(self, behaviour: Behaviour, now: float) -> Plan | None:
        wait = self._quota.take(now) if self._quota else 0.0
        if not wait:
            return None
        body = errors.error_object(429, f"Rate limit reached. Please try again in {wait:.3f}s.")
        headers = (
            (b"retry-after", b"%d" % math.ceil(wait)),
            (b"retry-after-ms", b"%d" % math.ceil(wait * 1000)),
            *self._quota_headers(now),
        )
        return _unary(429, orjson.dumps(body), behaviour, headers)

    def _quota_headers(self, now: float) -> tuple[Header, ...]:
        if self._quota is None:
            return ()
        return (
            (b"x-ratelimit-limit-requests", b"%d" % self._quota.limit),
            (b"x-ratelimit-remaining-requests", b"%d" % self._quota.remaining(now)),
            (b"x-ratelimit-reset-requests", b"%dms" % (self._quota.reset_seconds(now) * 1000)),
        )

    def _draws_error(self, behaviour: Behaviour) -> bool:
        if self._errors_left > 0:
            self._errors_left -= 1
            return True
        return hits(self._chance, behaviour.error_percent)

    def _error(self, record: Record, behaviour: Behaviour) -> Plan:
        self._serial += 1
        headers = (_named(record, f"{self._serial:016x}"), *_extra_headers(behaviour))
        if behaviour.retry_after is not None:
            headers = (*headers, (b"retry-after", behaviour.retry_after.encode()))
        if behaviour.error_status < 400:
            headers = (*headers, (b"location", b"/v1/elsewhere"))
        body = orjson.dumps(errors.error_object(behaviour.error_status))
        return _unary(
            behaviour.error_status,
            body,
            behaviour,
            headers,
            latency_seconds=behaviour.latency_seconds(self._chance),
        )

    def _answer(
        self,
        call: Call,
        request: Request,
        record: Record,
        behaviour: Behaviour,
        *,
        unix_time: float,
    ) -> Plan:
        self._serial += 1
        identity = Identity(f"{self._serial:016x}", int(unix_time))
        if call.endpoint is Endpoint.RESPONSES:
            self._remember(call, identity)
        latency = behaviour.latency_seconds(self._chance)
        fault = behaviour.drawn_fault(self._chance)
        record.usage = usage_of(call, behaviour)
        extra: tuple[Header, ...] = (
            _named(record, identity.serial),
            (b"openai-processing-ms", b"%d" % (latency * 1000)),
            (b"openai-version", b"2020-10-01"),
            *_extra_headers(behaviour),
        )
        if call.stream:
            events = spoken(_EVENTS[call.endpoint](call, behaviour, identity), behaviour.dialect)
            if behaviour.fragment_bytes:
                events = fragments(events, behaviour.fragment_bytes)
            headers = (STREAM_TYPE, (b"cache-control", b"no-cache"), *extra)
            return Plan(200, headers, b"", events, behaviour, latency, fault)
        body = _body(call, behaviour, identity)
        if behaviour.gzip and b"gzip" in (request.header(b"accept-encoding") or b""):
            body = zlib.compress(body, wbits=31)
            extra = (*extra, (b"content-encoding", b"gzip"))
        if fault is Fault.GARBAGE:
            body = GARBAGE_BODY
        if fault is Fault.EMPTY:
            body = b""
        return _unary(200, body, behaviour, extra, latency_seconds=latency, fault=fault)

    def _remember(self, call: Call, identity: Identity) -> None:
        previous = call.payload.get("previous_response_id")
        if previous is not None and previous not in self._responses:
            raise BadCall(
                f"Previous response with id '{previous}' not found.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        self._responses[responses.response_id(identity)] = None
        if len(self._responses) > REMEMBERED_RESPONSES:
            self._responses.popitem(last=False)


_EVENTS = {
    Endpoint.CHAT: chat.chat_events,
    Endpoint.COMPLETIONS: chat.completion_events,
    Endpoint.RESPONSES: responses.response_events,
}


def _body(call: Call, behaviour: Behaviour, identity: Identity) -> bytes:
    match call.endpoint:
        case Endpoint.CHAT:
            return chat.chat_completion(call, behaviour, identity)
        case Endpoint.COMPLETIONS:
            return chat.completion(call, behaviour, identity)
        case Endpoint.RESPONSES:
            return responses.response(call, behaviour, identity)
        case Endpoint.EMBEDDINGS:
            return embeddings(call, behaviour)


def _named(record: Record, serial: str) -> Header:
    """Gives the answer its id, as the header that carries it."""
    record.answer_id = f"req_{serial}"
    return (b"x-request-id", record.answer_id.encode())


def _extra_headers(behaviour: Behaviour) -> tuple[Header, ...]:
    return tuple((name.encode(), value.encode()) for name, value in behaviour.extra_headers.items())


def _unary(
    status: int,
    body: bytes,
    behaviour: Behaviour,
    headers: tuple[Header, ...] = (),
    *,
    latency_seconds: float = 0.0,
    fault: Fault | None = None,
) -> Plan:
    return Plan(status, (JSON_TYPE, *headers), body, None, behaviour, latency_seconds, fault)


def _refused(refusal: BadCall, behaviour: Behaviour) -> Plan:
    body = errors.error_object(refusal.status, str(refusal), code=refusal.code, param=refusal.param)
    return _unary(refusal.status, orjson.dumps(body), behaviour)


def _unknown_model(name: str) -> BadCall:
    return BadCall(
        f"The model '{name}' does not exist or you do not have access to it.",
        status=404,
        code="model_not_found",
        param="model",
    )
