"""What the ledger has told, as the reconcilers are told it."""

from typing import Any

from relay_operator.api.tenant import Tenant
from relay_operator.reconcile.ledger.ledger_news import LedgerNews

LIST = {"models": [{"name": "gpt-4.1", "prices": [{"perMillionTokens": {"input": "3"}}]}]}
DEARER = {"models": [{"name": "gpt-4.1", "prices": [{"perMillionTokens": {"input": "4"}}]}]}


def tenant(price_list: str) -> Tenant:
    billing: dict[str, Any] = {"priceList": price_list, "budget": {"amount": "5", "hard": True}}
    metadata = {"name": "finance", "uid": "u"}
    return Tenant.parse({"metadata": metadata, "spec": {"billing": billing}})


def test_rates_are_reckoned_once_for_a_list_and_anew_when_it_changes() -> None:
    news = LedgerNews()
    news.know_lists({"standard": LIST})
    rates = news.rates(tenant("standard"))
    assert rates
    assert news.rates(tenant("standard")) is rates
    news.know_lists({"standard": DEARER})
    assert news.rates(tenant("standard")) != rates


def test_what_was_reckoned_of_a_list_that_is_gone_goes_with_it() -> None:
    news = LedgerNews()
    for number in range(50):
        name = f"list-{number}"
        news.know_lists({name: dict(LIST), "standard": LIST})
        kept = news.rates(tenant("standard"))
        assert news.rates(tenant(name))
        assert len(news._rates) == 2
    news.know_lists({"standard": LIST})
    assert news.rates(tenant("standard")) is kept
    assert len(news._rates) == 1
    assert news.rates(tenant("list-7")) == ()
