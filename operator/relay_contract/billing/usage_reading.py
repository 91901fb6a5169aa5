"""Names the routes of the ledger by which a tenant's relay reads the tenant's own use."""

from typing import Final

USAGE_REPORT_PATH: Final = "/v1/usage/report"
USAGE_HISTORY_PATH: Final = "/v1/usage/history"
USAGE_ALERTS_PATH: Final = "/v1/usage/alerts"
CREDIT_PATH: Final = "/v1/credit"
CREDITS_PATH: Final = "/v1/credits"
MAX_QUESTION_BYTES: Final = 4096
MAX_ANSWER_BYTES: Final = 1024 * 1024
