"""Conditions of prices: whether a list is in force, and which models have none. Nothing of it keeps a Tenant or a Provider from being Ready."""

from collections.abc import Sequence
from typing import Final

from relay_contract.spending import MAX_RATES, MAX_TOOL_RATES
from relay_operator.decisions import timestamps
from relay_operator.decisions.conditions import Condition, condition, not_accepted
from relay_operator.decisions.ledger.standing import ToldList
from relay_operator.decisions.outcome import Refused, Waiting
from relay_operator.names import ConditionType, Reason

_NAMED: Final = 8
_MICROSECONDS: Final = 1_000_000


def of_price_list(told: Sequence[tuple[str, ToldList]], away: str) -> list[Condition]:
    """Builds the conditions of a PriceList. told is what the ledger has of it, by name: of the list itself first, then of it with
    the percentages that Tenants have; none before the ledger has heard of it. away says why it cannot be asked, empty if it answers.
    """
    refused = next(((name, one) for name, one in told if one.problem), None)
    if refused is not None:
        name, one = refused
        kept = f"version {one.version} stays in force" if one.version else "none is in force"
        obstacle = Refused(
            reason=Reason.PRICES_REFUSED,
            message=f"the ledger cannot use {name}: {one.problem}; {kept}. Correct the list",
        )
        return not_accepted(
            obstacle, _in_force(bool(one.version), obstacle.reason, obstacle.message)
        )
    if not told:
        reason = Reason.LEDGER_UNAVAILABLE if away else Reason.AWAITING_LEDGER
        why = f"the ledger has not taken the list: {away}" if away else "the ledger is told of it"
        waiting = Waiting(
            reason=reason,
            message=f"{why}; what it had of it before stays in force, and it is tried again",
        )
        return not_accepted(waiting, _in_force(None, reason, waiting.message))
    message = f"the ledger books by version {told[0][1].version}"
    dated = [one for _, one in told if one.since is not None]
    if dated:
        message = f"{message}. {_dated_back(dated)}"
        reason = Reason.BACK_DATED
    else:
        reason = Reason.IN_FORCE
    return [
        condition(ConditionType.READY, True, reason, reason, message),
        _in_force(True, reason, message),
    ]


def without_ledger() -> list[Condition]:
    """Builds the conditions of a PriceList of a platform that has no ledger."""
    message = (
        "the platform has no ledger, so nothing is priced by the list. Set the chart's value ledger.enabled, "
        "or remove the list"
    )
    return not_accepted(Refused(reason=Reason.NO_LEDGER, message=message))


_ANY_SERVER: Final = "every server/"
"""How the ledger names a tool of a list that is of one server."""
_REFUSED: Final = "Calls for what has no price are refused (spec.billing.onUnpriced)"
_UNCOUNTED: Final = "Calls for them are served (spec.billing.onUnpriced), and no limit counts them"


def of_provider(unpriced: Sequence[str], told: ToldList, *, is_taken: bool) -> Condition:
    """Builds the condition of a Provider; told is what the ledger says of its prices, is_taken tells whether it has them as they are."""
    if told.problem:
        return _refused(told.problem)
    if unpriced:
        return _priced(
            False,
            Reason.UNPRICED,
            f"nothing says what these models cost: {named(unpriced)}. Their calls are booked without a cost; "
            "write spec.models[].prices, or answersAs where the provider answers under other names, then correct what is "
            "booked with relay-ledger prices reprice",
        )
    if not is_taken:
        return _awaiting("its prices")
    return _has_prices("every model has a price", told)


def of_tool_server(unpriced: Sequence[str], told: ToldList, *, is_taken: bool) -> Condition:
    """Builds the condition of a ToolServer with prices; unpriced are tools that were called lately and booked without one."""
    if told.problem:
        return _refused(told.problem)
    if unpriced:
        return _priced(
            False,
            Reason.UNPRICED,
            f"nothing says what calls of these tools cost: {named(unpriced)}. They are booked without a cost; write them, or a "
            'pattern such as "*", in spec.prices, then correct what is booked with relay-ledger prices reprice',
        )
    if not is_taken:
        return _awaiting("its prices")
    return _has_prices(
        "every tool that was called this month or in the last ten days has a price", told
    )


def _has_prices(message: str, told: ToldList) -> Condition:
    if told.since is None:
        return _priced(True, Reason.PRICED, message)
    return _priced(True, Reason.BACK_DATED, f"{message}. {_dated_back([told])}")


def _refused(problem: str) -> Condition:
    return _priced(
        False,
        Reason.PRICES_REFUSED,
        f"the ledger cannot use its prices: {problem}; the last stay in force",
    )


def of_tenant(
    *,
    price_list: str,
    is_there: bool,
    unpriced: Sequence[str],
    problem: str,
    left_out: Sequence[str],
    is_taken: bool,
    is_refused: bool,
) -> Condition:
    """Builds the condition of a Tenant that is billed; is_there tells whether its PriceList exists, left_out are the models that its
    relays, which have to reckon before each call, have no room for; is_taken tells whether the ledger knows by what it is charged, is_refused
    whether its relays refuse calls without a price.
    """
    if not is_there:
        return _priced(
            False,
            Reason.PRICE_LIST_NOT_FOUND,
            f"there is no PriceList {price_list}; what relays and ledger have of it stays in force. "
            f"{f'{_REFUSED}. ' if is_refused else ''}Create it, or name another one",
        )
    if problem:
        return _priced(
            False, Reason.PRICES_REFUSED, f"the ledger cannot use spec.billing: {problem}"
        )
    if unpriced:
        return _priced(
            False,
            Reason.UNPRICED,
            f"calls of these models and tools are booked without a price of PriceList {price_list}: {named(unpriced)}. "
            f"{f'{_REFUSED}. ' if is_refused else ''}Add those that it has no price for, then correct what is booked with "
            "relay-ledger prices reprice",
        )
    if left_out:
        return _priced(
            False,
            Reason.TOO_MANY_PRICES,
            f"PriceList {price_list} has more prices than relays can reckon by ({MAX_RATES} of models and {MAX_TOOL_RATES} of tools, fewer if they are long); they have none of these "
            f"models and tools: {named(left_out)}. {_REFUSED if is_refused else _UNCOUNTED}; take "
            "prices of the past out of the list, or name one with the Tenant's own models and servers alone",
        )
    if not is_taken:
        return _awaiting("the list that the Tenant is charged by")
    return _priced(
        True,
        Reason.PRICED,
        f"PriceList {price_list} has a price for everything that was used this month or in the last ten days",
    )


def named(models: Sequence[str]) -> str:
    """Lists a few models by name."""
    more = f" and {len(models) - _NAMED} more" if len(models) > _NAMED else ""
    return ", ".join(models[:_NAMED]) + more


def _dated_back(dated: Sequence[ToldList]) -> str:
    since = min(one.since or 0 for one in dated)
    models = sorted({model.removeprefix(_ANY_SERVER) for one in dated for model in one.models})
    start = timestamps.to_text(since / _MICROSECONDS) if since else "the beginning"
    argument = timestamps.to_text(since / _MICROSECONDS) if since else "1970-01-01"
    return (
        f"It has other prices for a time that has passed, since {start}: {named(models)}. What is booked keeps its price; "
        f"`relay-ledger prices reprice --from {argument} --until TIME` shows the difference, and books it with --commit"
    )


def _in_force(holds: bool | None, reason: Reason, message: str) -> Condition:
    return condition(ConditionType.PRICES_IN_FORCE, holds, reason, reason, message)


def _awaiting(what: str) -> Condition:
    return _priced(
        None,
        Reason.AWAITING_LEDGER,
        f"the ledger is told of {what}; calls that it books before then are booked by what it had",
    )


def _priced(holds: bool | None, reason: Reason, message: str) -> Condition:
    return condition(ConditionType.PRICED, holds, reason, reason, message)
