"""The commands of docs/how-to/bills.md and of the example of billing, pasted into a shell whose kubectl leads to a ledger on this machine."""

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.ledger.bills.usage_report_api import openai_page, openai_usage
from tests.ledger.conftest import Books
from tests.ledger.ledger_process import environment
from tests.pages.blocks import ROOT, Block, Fate, blocks_of
from tests.unit.relay_contract.billing.records import closed

from relay_ledger.periods.contracts import TermsChange
from relay_ledger.store.contracts import ContractStore

PAGES = ("docs/how-to/bills.md", "examples/16-billing/README.md")
OTHER = """
name: elsewhere
currency: USD
entries:
- models: [other-model]
  prices: {input: '1', output: '4'}
"""
KUBECTL = """#!/bin/sh
case "$*" in
*metadata.uid*) printf uid-a; exit ;;
esac
while [ "$1" != -- ]; do shift; done
shift
[ "$1" = relay-ledger ] || exit 9
shift
exec {python} -m relay_ledger "$@"
"""
OCTOBER = int(datetime(2026, 10, 5, tzinfo=UTC).timestamp())
BLOCKS = [block for page in PAGES for block in blocks_of(page) if block.fate is Fate.ELSEWHERE]


def test_the_pages_have_blocks() -> None:
    assert Counter(block.page for block in BLOCKS) == dict(zip(PAGES, (9, 2), strict=True))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_runs_as_it_stands(
    block: Block, books: Books, address: str, tmp_path: Path
) -> None:
    books.store.load(OTHER, now=1)
    # as the operator tells of a Tenant, in mid-month
    told = TermsChange(zone="UTC", tenant="finance")
    ContractStore(books.engine).change_from_now({"uid-a": told}, now=(OCTOBER + 86_400) * 10**6)
    books.ledger.book("uid-a", [closed(dispatched_at=OCTOBER * 10**6)], books.prices, now=1)
    usage = openai_usage(OCTOBER - OCTOBER % 86_400, input_tokens=1000, output_tokens=100)
    (tmp_path / "openai-usage-2026-10.json").write_text(json.dumps(openai_page([usage])))
    by_project = openai_page([openai_usage(OCTOBER - OCTOBER % 86_400, project_id="proj_research")])
    (tmp_path / "openai-projects-2026-10.json").write_text(json.dumps(by_project))
    point = {"timestamp": OCTOBER, "input_tokens": 1000, "output_tokens": 100}
    (tmp_path / "history.json").write_text(json.dumps({"granularity": "day", "data": [point]}))
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL.replace("{python}", sys.executable))
    kubectl.chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=tmp_path,
        env={
            **environment(address, tmp_path),
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT / 'operator'}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
    if "usage-2026-10.html" in block.text:
        assert "<svg" in (tmp_path / "usage-2026-10.html").read_text()
    if "finance-2026-10.html" in block.text:
        assert "0.03 CNY" in (tmp_path / "finance-2026-10.html").read_text()
        assert "final" in done.stdout
