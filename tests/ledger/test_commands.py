"""What a person runs: prices from the public list into force, corrections, the audit, and what is said of mistakes."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sqlalchemy import update
from tests.ledger.conftest import COSTS, Books
from tests.ledger.ledger_process import environment
from tests.ledger.shell import Shell
from tests.unit.relay_contract.billing.records import NOON, closed

from relay_ledger.periods.contracts import Terms
from relay_ledger.settings import Settings
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.tables import SUMS


def test_the_help_names_every_setting_with_its_default_and_effect(shell: Shell) -> None:
    code, said, _ = shell.run("nowhere", "--help")
    assert code == 0
    for name, field in Settings.model_fields.items():
        default = " (required)" if field.is_required() else f"={field.default or ''}"
        [effect] = re.findall(
            rf"^  RELAY_LEDGER_{name.upper()}{re.escape(default)}\n      (\S.*)$",
            said,
            re.MULTILINE,
        )
        # by what can be set, not by what the code calls it
        assert (
            set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", effect)) & set(Settings.model_fields) == set()
        )


def test_public_prices_come_into_force_and_correct_what_is_booked(
    books: Books, address: str, tmp_path: Path, shell: Shell
) -> None:
    azure = closed(provider="azure", attempt_id="azure")
    books.ledger.book("uid-a", [closed(), azure], books.prices, now=NOON)
    code, listed, _ = shell.run(
        address, "prices", "import", "openai", "--model", "gpt-4.1", "--name", "public"
    )
    assert code == 0
    assert listed.startswith("# from genai-prices\n")
    path = tmp_path / "public.yaml"
    path.write_text(listed)
    code, checked, _ = shell.run("nowhere", "prices", "check", str(path))
    assert (code, checked.split(", ")[1:]) == (
        *(0, ["4 entries of 2 models", "0 prices of tools\n"]),
    )
    for command in (
        ["load", str(path)],
        ["assign", "cost", "azure", "public", "--from", "2020-01-01"],
    ):
        code, _, said = shell.run(address, "prices", *command)
        assert (code, said) == (0, "")
    between = ["--from", "2020-01-01", "--until", "2030-01-01T00:00:00Z"]
    code, dry, _ = shell.run(address, "prices", "reprice", *between)
    assert (code, dry) == (
        0,
        "uid-a: 1 attempts, 0 tool calls, cost 0.0028 USD, charge 0.00 USD\n1 tenants; dry run, nothing is booked\n",
    )
    code, _, _ = shell.run(address, "prices", "reprice", *between, "--commit")
    assert code == 0
    assert books.ledger.sums("uid-a", start=0, end=2**60)["cost_pico"] == 5_600_000_000
    code, audited, _ = shell.run(address, "audit", *between)
    assert (code, audited) == (
        0,
        "0 opened + 2 unopened = 2 closed + 0 swept + 0 in flight; 0 lines in quarantine; 0 sums differ\n",
    )
    with books.engine.begin() as connection:
        connection.execute(update(SUMS).values(attempts=7))
    code, audited, _ = shell.run(address, "audit", *between)
    assert code == 1
    assert "sums differ from postings" in audited


def test_prices_in_force_are_shown_with_their_source_and_when_it_was_checked(
    books: Books, address: str, tmp_path: Path, shell: Shell
) -> None:
    before = books.prices
    path = tmp_path / "public.yaml"
    ask = ("prices", "import", "openai", "--model", "gpt-4.1", "--name", "public")
    for day in ("2026-10-01", "2026-11-01"):
        path.write_text(shell.run("nowhere", *ask, "--checked-at", day)[1])
        code, loaded, said = shell.run(address, "prices", "load", str(path))
        assert (code, said) == (0, "")
    code, out, _ = shell.run(address, "prices", "list", "public", "--format", "csv")
    assert code == 0
    found = list(csv.DictReader(io.StringIO(out)))
    assert {row["checked_at"] for row in found} == {"2026-11-01"}
    [row] = [
        row
        for row in found
        if (row["model"], row["tier"], row["counted"]) == ("gpt-4.1", "standard", "input")
    ]
    assert (row["price"], row["per"], row["currency"]) == ("2", "1000000", "USD")
    assert row["source"].startswith("genai-prices ")
    assert "https://" in row["source"]
    assert loaded == f"{path}: {row['version']}\n"
    code, out, _ = shell.run(address, "prices", "list", "--format", "json")
    told = json.loads(out)["prices"]
    assert {one["list"] for one in told} == {"openai", "public", "retail"}
    assert {one["checked_at"] for one in told if one["list"] == "retail"} == {""}
    code, out, _ = shell.run(address, "prices", "list", "retail")
    assert (code, len(out.splitlines())) == (0, 1 + len([o for o in told if o["list"] == "retail"]))
    code, _, said = shell.run(address, "prices", "list", "gold")
    assert (code, "there is no price list gold" in said) == (1, True)
    code, _, said = shell.run("nowhere", *ask, "--checked-at", "soon")
    assert (code, "'soon' is no time" in said) == (2, True)
    assert books.prices.lists["retail"].version == before.lists["retail"].version


def test_public_prices_are_written_as_objects(shell: Shell) -> None:
    ask = ("prices", "import", "openai", "--model", "gpt-4.1")
    code, out, said = shell.run("nowhere", *ask, "--as", "PriceList", "--name", "standard")
    assert (code, "remarks stand in comments" in said) == (0, True)
    made = yaml.safe_load(out)
    assert (made["kind"], made["metadata"]) == ("PriceList", {"name": "standard"})
    first, second = made["spec"]["models"]
    assert (first["name"], second["name"]) == ("gpt-4.1", "gpt-4.1-2025-04-14")
    assert first["prices"][0]["perMillionTokens"]["input"] == "2"
    code, out, _ = shell.run("nowhere", *ask, "--as", "Provider")
    assert "kubectl apply --server-side" in out
    assert yaml.safe_load(out)["spec"]["models"][0]["answersAs"] == ["gpt-4.1-2025-04-14"]
    code, out, _ = shell.run("nowhere", *ask, "--as", "Provider", "--url", "https://a.example/v1")
    assert yaml.safe_load(out)["spec"]["endpoint"] == {"url": "https://a.example/v1"}
    code, out, said = shell.run("nowhere", *ask, "--url", "https://a.example/v1")
    assert (code, out, "give --as Provider" in said) == (1, "", True)
    code, out, said = shell.run("nowhere", "prices", "import", "openrouter", "--as", "PriceList")
    assert (code, "a PriceList holds 256 models; name those that you need by --model" in said) == (
        *(0, True),
    )
    assert len(yaml.safe_load(out)["spec"]["models"]) == 256


@pytest.mark.parametrize(
    ("arguments", "database", "code", "said"),
    [
        (("prices", "import", "nobody"), "", 1, "genai-prices knows no provider nobody"),
        (("prices", "check", "missing.yaml"), "", 1, "missing.yaml: "),
        (("prices", "check", "wrong.yaml"), "", 1, "wrong.yaml: entries.0.prices.input: '-2' is no price"),
        (("prices", "load", "wrong.yaml"), "sqlite:///{}/l.db", 1, "'-2' is no price"),
        (("prices", "assign", "cost", "a", "b"), "sqlite:///{}/l.db", 1, "there is no price list b: load it first"),
        (("prices", "reprice", "--from", "yesterday", "--until", "2026-01-01"), "", 2, "'yesterday' is no time"),
        ((), "", 2, "the following arguments are required: COMMAND"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_sentence(
    arguments: tuple[str, ...], database: str, code: int, said: str, tmp_path: Path, shell: Shell
) -> None:
    (tmp_path / "wrong.yaml").write_text(COSTS.replace("'2'", "'-2'"))
    placed = [str(tmp_path / one) if one.endswith(".yaml") else one for one in arguments]
    returned, _, error = shell.run(database.format(tmp_path), *placed)
    assert (returned, said in error) == (code, True), error
    assert "Traceback" not in error


def test_a_ledger_keeps_what_it_takes(tmp_path: Path, shell: Shell) -> None:
    code, _, error = shell.run(f"sqlite:///{tmp_path}/l.db", "serve", kept_days="60")
    assert code == 2
    assert (
        "RELAY_LEDGER_KEPT_DAYS is 60; it has to be RELAY_LEDGER_PAST_DAYS and a month (66)"
        in error
    )


def test_the_command_says_which_libraries_it_lacks() -> None:
    # -S leaves the installed packages out, as an image without the extra would
    done = subprocess.run(
        [sys.executable, "-S", "-m", "relay_ledger", "serve"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "is not installed; the ledger needs relay-operator[ledger]" in done.stderr


WHAT_IS_LOADED = """
import atexit, gc, sys
from relay_ledger.main import main
heavy = {"aiohttp", "alembic", "prometheus_client"}
atexit.register(lambda: print(sorted(heavy & set(sys.modules)), gc.isenabled()))
main()
"""


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_a_command_that_reads_loads_no_library_of_servers_or_of_migrations(
    tmp_path: Path, address: str
) -> None:
    """They are a third of its start. Collections, which wait for the end of the start, go on after it."""
    done = subprocess.run(
        [sys.executable, "-c", WHAT_IS_LOADED, "report", "--month", "2026-10"],
        env=environment(address, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[] True"


def test_terms_are_those_of_the_tenant_that_is_named(
    books: Books, address: str, shell: Shell
) -> None:
    contracts = ContractStore(books.engine)
    contracts.put("uid-a", Terms(tenant="finance"), now=1)
    assert shell.run(address, "terms", "finance", "--currency", "CNY")[:2] == (0, "in force\n")
    assert contracts.contract("uid-a").terms_at(NOON).currency == "CNY"
    assert not contracts.contract("finance").is_known
    assert " CNY " in shell.run(address, "terms", "finance")[1]
    # whom the ledger has not heard of gets terms by its UID
    assert shell.run(address, "terms", "uid-new", "--name", "finance")[:2] == (0, "in force\n")
    code, _, said = shell.run(address, "terms", "finance", "--currency", "EUR")
    assert (code, "several tenants are named finance" in said) == (1, True)


@pytest.mark.parametrize("rate", ["0", "1000000000.000001", "9" * 18])
def test_a_rate_that_is_none_is_refused_in_a_sentence(
    address: str, shell: Shell, rate: str
) -> None:
    code, _, said = shell.run(address, "rates", "CNY", rate, "--from", "2026-10-31")
    assert (code, "a rate is above 0, and at most 1000000000" in said) == (1, True), said


def test_a_list_that_changes_the_past_says_so_and_what_to_run(
    books: Books, address: str, tmp_path: Path, shell: Shell
) -> None:
    path = tmp_path / "costs.yaml"

    def load(content: str) -> str:
        path.write_text(content)
        code, _, said = shell.run(address, "prices", "load", str(path))
        assert code == 0
        return said

    assert load(COSTS) == ""
    told = load(COSTS.replace("'2'", "'3'"))
    assert "other prices than before of gpt-4.1, from the beginning" in told
    assert "`relay-ledger prices reprice`" in told
    # a price from a day to come changes nothing of the past
    dated = COSTS.replace("'2'", "'3'").replace(
        "- models: [gpt-4.1]", "- models: [gpt-4.1]\n  until: 2999-01-01"
    )
    assert load(dated) == ""
