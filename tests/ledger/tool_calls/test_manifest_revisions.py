"""The tool manifest that a call was held to stands in every posting of it, whatever the posting is for."""

from sqlalchemy import select
from tests.ledger.conftest import COSTS, Books
from tests.ledger.tool_calls.prices import book, sell_tools
from tests.unit.relay_contract.billing.records import NOON, closed, opened, tool_call

from relay_ledger.store.databases import reading
from relay_ledger.store.repricing import Repricing
from relay_ledger.store.tables import POSTINGS


def revisions(books: Books) -> list[tuple[str, str]]:
    """Kind and revision of every posting, in the order in which they were added."""
    columns = (POSTINGS.c.kind, POSTINGS.c.manifest_revision)
    with reading(books.engine) as connection:
        rows = connection.execute(
            select(*columns).order_by(POSTINGS.c.event_id, POSTINGS.c.sequence)
        )
        return [tuple(row) for row in rows]


def test_postings_of_attempts_name_the_manifest(books: Books) -> None:
    # many at once are copied, few are inserted
    many = [closed(attempt_id=f"c-{number}", manifest_revision="r7") for number in range(20)]
    books.ledger.book("uid-a", many, books.prices, now=NOON)
    assert revisions(books) == [("usage", "r7")] * 20
    books.ledger.book("uid-a", [closed()], books.prices, now=NOON)
    assert revisions(books).count(("usage", "")) == 1


def test_what_is_swept_taken_back_and_priced_again_names_it_too(books: Books) -> None:
    books.ledger.book("uid-a", [opened(manifest_revision="r7")], books.prices, now=NOON)
    books.ledger.sweep(sent_before=NOON + 1, now=NOON)
    books.ledger.book("uid-a", [closed(manifest_revision="r7")], books.prices, now=NOON)
    books.store.load(COSTS.replace("input: '2'", "input: '4'"), now=NOON)
    Repricing(books.engine, books.prices, start=NOON, end=NOON + 1).run(now=NOON)
    kinds = ("swept", "reversal", "usage", "repricing")
    assert revisions(books) == [(kind, "r7") for kind in kinds]


def test_postings_of_tool_calls_name_it(books: Books) -> None:
    sell_tools(books)
    book(books, tool_call(revision="r8"), now=NOON)
    sell_tools(
        books,
        costs="name: tools..erp\ncurrency: USD\nentries: []\ntools: [{tools: ['*'], perCall: '9'}]",
    )
    Repricing(books.engine, books.prices, start=NOON, end=NOON + 1).run(now=NOON)
    assert revisions(books) == [("usage", "r8"), ("repricing", "r8")]
