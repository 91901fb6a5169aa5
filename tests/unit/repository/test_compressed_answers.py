"""No client of ours unpacks an answer: some bytes of a server that was taken over could fill a process's memory."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
KUBERNETES = "operator/relay_operator/cluster/metrics/api_traffic.py"
"""Its session is for the API server's client, which asks for compressed lists."""


def sessions(path: Path) -> Iterator[ast.Call]:
    """Yields each place of a source where a client session is made."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ClientSession"):
            yield node


def test_every_client_session_leaves_answers_packed() -> None:
    made = {
        f"{path.relative_to(ROOT)}:{call.lineno}": {
            str(keyword.arg): ast.unparse(keyword.value) for keyword in call.keywords
        }
        for path in sorted((ROOT / "operator").rglob("*.py"))
        for call in sessions(path)
        if str(path.relative_to(ROOT)) != KUBERNETES
    }
    assert len(made) >= 4
    unpack = [at for at, options in made.items() if options.get("auto_decompress") != "False"]
    assert unpack == []
