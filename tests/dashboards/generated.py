"""The text of each dashboard, as the chart keeps it."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.dashboards import fleet, ledger, migration, own_work, tenant

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "charts" / "relay-operator" / "dashboards"
BOARDS = {
    "operator": own_work.board,
    "fleet": fleet.board,
    "tenant": tenant.board,
    "migration": migration.board,
    "ledger": ledger.board,
}
"""By the file's name; the ConfigMap has them as relay-NAME.json."""


def files() -> dict[Path, str]:
    """Returns every file and what is to be in it."""
    return {FOLDER / f"{name}.json": text(make()) for name, make in BOARDS.items()}


def text(board: Dashboard) -> str:
    """Returns a dashboard as JSON with a line a field, so that changes of it can be read."""
    return json.dumps(board, cls=JSONEncoder, indent=1, ensure_ascii=False) + "\n"
