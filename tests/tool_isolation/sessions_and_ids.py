"""Rows 3, 4 and the fault of sessions: what is one tenant's by an id is of no use to the other."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.blackbox.wire import Answer
from tests.tool_isolation.callers import Caller, Client, Era, result_of
from tests.tool_isolation.findings import Findings
from tests.tool_isolation.gateway import Gateway, new_mark, was_answered, was_refused

AT_ONCE: Final = 16
ODD_SESSION: Final = "0" * 32


def equal_ids_never_cross(gateway: Gateway, found: Findings) -> None:
    """Row 3: requests, progress and cancellations of both tenants with the same ids stay apart."""
    before = len(gateway.server.seen)
    for pair in gateway.clients:
        era = pair[0].era.value
        tenants = tuple(zip(pair, (gateway.one.tool, gateway.other.tool), strict=True))

        def is_own(number: int, tenants: tuple[tuple[Client, str], ...] = tenants) -> bool:
            mark = new_mark()
            client, tool = tenants[number % 2]
            answer = client.call(tool, id=1, mark=mark)
            others = set(re.findall(rb"mark-[0-9a-f-]+", answer.body)) - {mark.encode()}
            return was_answered(answer, mark) and not others

        with ThreadPoolExecutor(AT_ONCE) as pool:
            right = sum(pool.map(is_own, range(gateway.rounds)))
        found.expect(
            right == gateway.rounds,
            f"{era}: of {gateway.rounds} calls with one id {gateway.rounds - right} had not their own answer",
        )
        _progress_stays_apart(gateway, pair, found)
        _a_cancellation_is_ones_own(gateway, pair, found)
    _sessions_behind_are_apart(gateway, found, before)


def _progress_stays_apart(gateway: Gateway, pair: tuple[Client, Client], found: Findings) -> None:
    marks = (new_mark(), new_mark())
    tools = (gateway.one.tool, gateway.other.tool)

    def asked(place: int) -> Answer:
        arguments = {"mark": marks[place], "behave": "progress"}
        meta = {"progressToken": 1}
        return pair[place].ask("tools/call", name=tools[place], arguments=arguments, _meta=meta)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(asked, (0, 1)))
    for place, answer in enumerate(answers):
        found.expect(
            marks[place].encode() in answer.body and marks[1 - place].encode() not in answer.body,
            f"{pair[0].era.value}: progress of one tenant's call reaches the other's",
        )


def _a_cancellation_is_ones_own(
    gateway: Gateway, pair: tuple[Client, Client], found: Findings
) -> None:
    one, other = pair
    mark = new_mark()
    answers: list[Answer] = []
    arguments = {"mark": mark, "behave": "slow"}
    asked = other.message("tools/call", id=77, name=gateway.other.tool, arguments=arguments)
    thread = threading.Thread(target=lambda: answers.append(other.say(asked)))
    thread.start()
    one.say(one.message("notifications/cancelled", id=None, requestId=77))
    thread.join()
    found.expect(
        was_answered(answers[0], mark),
        f"{one.era.value}: a tenant cancels the other's call by its id",
    )


def _sessions_behind_are_apart(gateway: Gateway, found: Findings, before: int) -> None:
    """The server behind holds state by session, so calls of two tenants in one of its sessions share it."""
    tenants: dict[str, set[str]] = {}
    for _, session, _, body in gateway.server.seen[before:]:
        if not isinstance(body, dict) or body.get("method") != "tools/call" or not session:
            continue
        name = body["params"]["name"]
        for tenant in (gateway.one, gateway.other):
            # published names may have a prefix, or other signs between their words
            if _words(tenant.tool).endswith(_words(name)):
                tenants.setdefault(session, set()).add(tenant.tool)
    if not tenants:
        found.leave_out("sessions at the server behind: the gateway used none")
        return
    found.expect(
        all(len(names) == 1 for names in tenants.values()),
        "calls of both tenants are made in one session of the server behind",
    )


def _words(name: str) -> str:
    return name.replace("-", "_").replace(".", "_")


def sessions_and_states_are_ones_own(gateway: Gateway, found: Findings) -> None:
    """Row 4: a session id or a request state is of no use to the other tenant, to another call, or changed."""
    for one, other in gateway.clients:
        if one.era is Era.SESSIONS:
            _sessions_are_ones_own(gateway, one, other, found)
        else:
            _states_are_ones_own(gateway, one, other, found)
    if all(one.era is Era.SESSIONS for one, _ in gateway.clients):
        found.leave_out("request states: the gateway does not speak 2026-07-28")


def _sessions_are_ones_own(gateway: Gateway, one: Client, other: Client, found: Findings) -> None:
    if not one.session:
        found.leave_out("session ids: the gateway gave none")
        return
    unknown = Client(other.caller, Era.SESSIONS, ODD_SESSION)
    stolen = Client(other.caller, Era.SESSIONS, one.session)
    for tool in (gateway.other.tool, gateway.other.shared, gateway.one.tool):
        mark = new_mark()
        answers = [client.call(tool, mark=mark) for client in (unknown, stolen)]
        found.expect(
            _without_session(answers[1], one.session) == _without_session(answers[0], ODD_SESSION),
            f"a session of the other tenant is answered otherwise than an unknown one: {answers[1].status}"
            f" {answers[1].body[:120]!r} beside {answers[0].status} {answers[0].body[:120]!r}",
        )
    found.expect(
        was_refused(answers[1]) and not gateway.server.executed(mark),
        "in a session of the other tenant its tool is called",
    )
    fields = {"mcp-session-id": one.session}
    other.caller.send(b"", fields, method="DELETE")
    found.expect(gateway.works(one, gateway.one.tool), "one tenant's session is ended by the other")


def _without_session(answer: Answer, session: str) -> tuple[int, bytes]:
    return answer.status, answer.body.replace(session.encode(), b"SESSION")


def _states_are_ones_own(gateway: Gateway, one: Client, other: Client, found: Findings) -> None:
    tool, arguments = gateway.one.shared, {"behave": "asks_first", "mark": new_mark()}
    first = result_of(one.ask("tools/call", name=tool, arguments=arguments)) or {}
    state = first.get("requestState")
    if not isinstance(state, str):
        found.leave_out("request states: a call in several rounds does not pass")
        return
    flipped = state[:-3] + ("A" if state[-3] != "A" else "B") + state[-2:]
    changed = {**arguments, "mark": new_mark()}
    for what, client, name, given, used in (
        ("used by the other tenant", other, tool, arguments, state),
        ("of another tool", one, gateway.one.tool, arguments, state),
        ("of other arguments", one, tool, changed, state),
        ("with a bit changed", one, tool, arguments, flipped),
    ):
        answer = client.ask("tools/call", name=name, arguments=given, requestState=used)
        found.expect(was_refused(answer), f"a request state {what} is taken")
    again = one.ask("tools/call", name=tool, arguments=arguments, requestState=state)
    found.expect(b"step 1" in again.body, "a request state is refused to its own call")


def sessions_stay_on_their_route(gateway: Gateway, found: Findings) -> None:
    """A fault seen elsewhere: a session of one route is used on another."""
    if gateway.one.caller.url == gateway.other.caller.url:
        found.leave_out("both tenants call one URL")
        return
    for one, other in gateway.clients:
        if not one.session:
            continue
        for credential in (gateway.one.caller, gateway.other.caller):
            moved = entered_elsewhere(credential.credential, other, one.session)
            mark = new_mark()
            for tool in (gateway.one.tool, gateway.other.tool, gateway.other.shared):
                answer = moved.call(tool, mark=mark)
                found.expect(
                    was_refused(answer) and not gateway.server.executed(mark),
                    f"a session of one tenant's URL calls {tool} at the other's",
                )
    if not found.held and not found.broken:
        found.leave_out("the gateway gave no session ids")


def entered_elsewhere(credential: str, there: Client, session: str) -> Client:
    """Returns a client at another's URL by this credential, in a session that was begun elsewhere."""
    caller = Caller(there.caller.url, credential, there.caller.header)
    return Client(caller, Era.SESSIONS, session)
