"""Names the form in which a relay delivers records to the ledger: lines of JSON in one request, answered once they are on disk.

A relay sends what has no answer of 200 again, as often as it takes. What 200 tells is done with: booked, booked before, or kept apart.
"""

from typing import Final

ATTEMPTS_PATH: Final = "/v1/attempts"
TOOL_CALLS_PATH: Final = "/v1/tool-calls"
"""Records of tool calls have a path of their own: a ledger that knows none of them takes attempts from the same relay."""
INGEST_PORT: Final = 8090
MAX_BATCH_BYTES: Final = 1024 * 1024
MAX_BATCH_LINES: Final = 1000
"""As many records as book well together. What is larger is refused with 413, and has to be divided."""
