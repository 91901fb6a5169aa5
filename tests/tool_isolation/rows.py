"""The rows of the suite, in the order in which they are run: those after which the gateway is another come last."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.tool_isolation import (
    by_hand,
    credentials,
    failing_servers,
    names_and_lists,
    sessions_and_ids,
    web_pages,
)
from tests.tool_isolation.findings import Findings, Outcome
from tests.tool_isolation.gateway import Gateway


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what is tried, by a function that notes what it found."""

    name: str
    title: str
    judge: Callable[[Gateway, Findings], None]

    def run(self, gateway: Gateway) -> Findings:
        """Returns what was found; a check that raises has found something as well."""
        found = Findings()
        try:
            gateway.enter()
            self.judge(gateway, found)
        except Exception as error:
            found.expect(False, f"the row ended with {type(error).__name__}: {error}"[:300])
        return found


ROWS: Final = (
    Row("1", "lists show one's own alone", names_and_lists.lists_show_ones_own_alone),
    Row("2", "denied is as unknown, in bytes and time", names_and_lists.denied_is_as_unknown),
    Row("3", "equal ids never cross", sessions_and_ids.equal_ids_never_cross),
    Row(
        "4",
        "sessions and request states are one's own",
        sessions_and_ids.sessions_and_states_are_ones_own,
    ),
    Row("5", "messages have one reading", names_and_lists.messages_have_one_reading),
    Row("7", "only a whole credential is let in", credentials.only_a_whole_credential_is_let_in),
    Row("8", "credentials stay where they belong", credentials.credentials_stay_where_they_belong),
    Row(
        "11",
        "a failing server costs its own calls alone",
        failing_servers.a_failing_server_costs_its_own_calls,
    ),
    Row("12", "other origins are refused", web_pages.other_origins_are_refused),
    Row(
        "13",
        "a changed definition is not shown unseen",
        failing_servers.a_changed_definition_is_not_shown,
    ),
    Row("15", "tokens are for this resource", credentials.tokens_are_for_this_resource),
    Row("route", "a session stays on its route", sessions_and_ids.sessions_stay_on_their_route),
    Row(
        "prompts",
        "prompts, resources and completion are as closed as their lists",
        names_and_lists.prompts_and_resources_are_as_closed,
    ),
    Row(
        "malformed",
        "a malformed answer is no result",
        failing_servers.malformed_answers_are_no_results,
    ),
    Row("10", "every call is recorded once", by_hand.every_call_is_recorded_once),
    Row("6", "a revoked tool is refused at once", by_hand.a_revoked_tool_is_refused_at_once),
    Row("9", "limits are one's own", by_hand.limits_are_ones_own),
    Row("seeds", "nothing secret is logged", credentials.nothing_secret_is_logged),
)
OWASP: Final[Mapping[str, tuple[str, ...]]] = {
    "MCP01 secrets": ("8", "seeds"),
    "MCP02 scope creep": ("6", "7"),
    "MCP03 poisoning": ("13",),
    "MCP05 injection": ("5",),
    "MCP06 intent flow": ("13",),
    "MCP07 authentication and authorization": ("2", "7", "15"),
    "MCP08 audit": ("10",),
    "MCP09 shadow servers": ("12",),
    "MCP10 over-sharing": ("1", "3", "4"),
}
"""Row 16: the rows that try each risk of the OWASP MCP Top 10. MCP04, the supply chain, is not seen over HTTP."""


def owasp(outcomes: Mapping[str, Outcome]) -> Iterable[tuple[str, Outcome]]:
    """Yields how each risk of the OWASP list ended: broken if one of its rows is, held if all that could be tried held."""
    for risk, rows in OWASP.items():
        of_rows = {outcomes[row] for row in rows if row in outcomes}
        if Outcome.BROKEN in of_rows:
            yield risk, Outcome.BROKEN
        else:
            yield risk, Outcome.HELD if Outcome.HELD in of_rows else Outcome.NOT_APPLICABLE
