"""The book of prices that the operator gives the ledger, and what it asks it for; both as JSON, under the operator's token.

PUT BOOKS_PATH has all that is to be in force, so that a ledger that has lost its database has everything again:

    {"v": 1,
     "lists": [{"name", "currency", "entries"}, ...]     as a price file has them
     "costs": {PROVIDER: LIST}                           what the platform pays for attempts
     "tools": {SERVER: LIST}                             what it pays for tool calls, absent where nothing says so
     "tenants": {UID: {"name", "list", "zone", "currency"}}}    what tenants pay, whose months are whose, and in what they
                                                                are billed; all but the name may be absent

The answer tells of each list the version in force, what keeps the one in the book from it, and since when it differs from what was booked:
    {"book": DIGEST, "lists": {LIST: {"version", "problem", "backDated": {"since", "models"}}}, "tenants": {UID: PROBLEM}}
GET STANDING_PATH tells the same, and beside it what is true now: {..., "months": {UID: {"month", "spent"}},
"unpriced": {"cost": {PROVIDER: [MODEL, ...]}, "charge": {UID: [MODEL, ...]}},
"reconciliations": {PROVIDER: {"start", "end", "madeAt", "compared", "flagged", "provisional", "unit", "booked", "reported",
"difference", "percent", "causes", "names"}}}:
what `relay-ledger reconcile` found last of the last period of a Provider.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

BOOKS_PATH: Final = "/v1/books"
STANDING_PATH: Final = "/v1/standing"
MAX_BOOK_BYTES: Final = 16 * 1024 * 1024
FORM_VERSION: Final = 1


def book_bytes(book: Mapping[str, Any]) -> bytes:
    """Returns the book as it is sent: equal books are equal bytes."""
    return json.dumps(book, sort_keys=True, separators=(",", ":")).encode()


def book_digest(content: bytes) -> str:
    """Returns the version of a book: what it says and nothing else makes it."""
    return hashlib.sha256(content).hexdigest()
