"""A hard budget holds over all relay pods, whoever is killed; a call that it does not cover is refused in a way that nobody repeats."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import openai
import pytest
from openai import OpenAI
from tests.blackbox.conftest import UPSTREAM_SECRETS
from tests.blackbox.forked_relays import ForkedRelay
from tests.blackbox.process import free_ports
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import KEY, MODEL, TENANT, TENANT_UID, Platform, Signer
from tests.blackbox.test_openai_node import node_sdk as node_sdk
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer, Wire, request_bytes
from tests.ledger.ledger_process import LedgerProcess, operator_token, token_of

from relay_contract.billing.budget import (
    BUDGETS_PATH,
    Budgets,
    BudgetStandings,
    BudgetTerms,
    CreditTerms,
    TenantBudget,
)
from relay_contract.billing.price_book import BOOKS_PATH, book_bytes
from relay_contract.billing.usage_reading import CREDITS_PATH
from relay_contract.document import Drain
from relay_contract.spending import Rate, SessionCaps, Spending
from relay_ledger.store.databases import open_database
from relay_ledger.store.schema import upgrade

pytestmark = pytest.mark.timeout(180)
PATIENCE: Final = 60.0
TOKENS: Final = 100
CALL: Final = TOKENS * 12_000_000
"""Pico-USD that a call of the most tokens costs, with input for nothing."""
RATE: Final = Rate(model=MODEL, input=0, cached=0, output=12_000_000)
FINAL: Final = "insufficient_quota"
LEASE_SECONDS: Final = 4
ServeBy = Callable[..., Relay]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerProcess]:
    directory = tmp_path / "ledger"
    directory.mkdir()
    address = f"sqlite:///{directory}/ledger.db"
    engine = open_database(address)
    upgrade(engine)
    engine.dispose()
    # a port that stays over restarts, as that of a Service does
    (port,) = free_ports(1)
    process = LedgerProcess(address, directory, ingest_port=port, lease_seconds=LEASE_SECONDS)
    try:
        process.start()
        yield process
    finally:
        process.end()


@pytest.fixture
def pod(
    tmp_path: Path, signer: Signer, platform: Platform, ledger: LedgerProcess, stable: Upstream
) -> Iterator[ServeBy]:
    """Starts relay pods of one tenant that has a budget."""
    stable.behave(completion_tokens=TOKENS)
    token = tmp_path / "token"
    token.write_text(token_of(TENANT_UID))
    started: list[Relay] = []

    def start(name: str, spending: Spending | None = None, **settings: str) -> Relay:
        directory = tmp_path / name
        (directory / "outbox").mkdir(parents=True)
        relay = ForkedRelay(
            directory,
            signer,
            pod_name=name,
            ledger_url=f"http://127.0.0.1:{ledger.ingest_port}",
            ledger_token_file=str(token),
            outbox_directory=str(directory / "outbox"),
            **settings,
        )
        started.append(relay)
        for provider, secret in UPSTREAM_SECRETS.items():
            relay.give_key(provider, secret)
        relay.write_document(platform.document(spending=spending or bounded()))
        relay.wait_ready()
        return relay

    try:
        yield start
    finally:
        for relay in started:
            relay.process.kill()


def bounded(**changes: Any) -> Spending:
    return Spending(**{"limits": ("budget",), "rates": (RATE,), **changes})


def give_budget(ledger: LedgerProcess, calls: int) -> None:
    terms = BudgetTerms(
        amount_pico=calls * CALL, period="Month", hard=True, alert_at_percent=(100,)
    )
    tenant = TenantBudget(tenant_uid=TENANT_UID, tenant=TENANT, budget=terms)
    body = Budgets(tenants=(tenant,)).model_dump_json(by_alias=True).encode()
    answer = ledger.ask("PUT", BUDGETS_PATH, token=operator_token(), body=body)
    assert answer.status_code == 200, answer.text


def give_credit_terms(ledger: LedgerProcess) -> None:
    """Tells the ledger of a tenant that is served by what it has paid, and has paid nothing yet."""
    known = {"v": 1, "tenants": {TENANT_UID: {"name": TENANT}}}
    bound = TenantBudget(tenant_uid=TENANT_UID, tenant=TENANT, credit=CreditTerms())
    for path, body in (
        (BOOKS_PATH, book_bytes(known)),
        (BUDGETS_PATH, Budgets(tenants=(bound,)).model_dump_json(by_alias=True).encode()),
    ):
        answer = ledger.ask("PUT", path, token=operator_token(), body=body)
        assert answer.status_code == 200, answer.text


def pay(ledger: LedgerProcess, usd: str) -> None:
    payment = {"tenant_uid": TENANT_UID, "reference": "r", "amount": usd, "currency": "USD"}
    body = json.dumps(payment).encode()
    answer = ledger.ask("POST", CREDITS_PATH, token=operator_token(), body=body)
    assert answer.status_code == 201, answer.text


def test_a_pod_that_runs_serves_from_the_first_payment_on(
    pod: ServeBy, ledger: LedgerProcess
) -> None:
    give_credit_terms(ledger)
    relay = pod("a", bounded(limits=("credit",)))
    assert call_as_a_client(relay) == FINAL
    pay(ledger, "1.00")
    wait_served(relay)
    # and goes on once the lease of what there was before has ended
    time.sleep(LEASE_SECONDS)
    assert call_as_a_client(relay) == ""


def standing(ledger: LedgerProcess) -> BudgetStandings:
    path = f"{BUDGETS_PATH}?tenantUid={TENANT_UID}"
    answer = ledger.ask("GET", path, token=operator_token())
    return BudgetStandings.model_validate_json(answer.text)


def call(relay: Relay, **headers: str) -> Answer:
    return relay.chat(headers=headers, max_tokens=TOKENS)


def code(answer: Answer) -> str:
    return "" if answer.status == 200 else str(answer.json()["error"]["code"])


def call_as_a_client(relay: Relay) -> str:
    """Calls as the SDKs do: again for what may be tried again. Returns the last code, "" for success."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = call(relay)
        if answer.header("x-should-retry") == "false" or answer.status == 200:
            return code(answer)
        assert time.monotonic() < deadline, answer
        time.sleep(0.2)


def wait_served(relay: Relay) -> None:
    """Calls until a call is served: the first slice is asked for once there is a document."""
    eventually(
        lambda: call(relay).status,
        lambda status: status == 200,
        what="a served call",
        within_seconds=PATIENCE,
    )


def test_three_pods_spend_no_more_than_the_budget_together(
    ledger: LedgerProcess, pod: ServeBy, stable: Upstream
) -> None:
    give_budget(ledger, 50)
    pods = [pod(name) for name in ("a", "b", "c")]
    with ThreadPoolExecutor(200) as callers:
        codes = Counter(callers.map(call_as_a_client, [pods[n % 3] for n in range(200)]))
    assert codes[""] + codes[FINAL] == 200
    assert codes[""] == len(stable.received())
    # what is left over is less than a call, unless pods held parts of one that nobody asked for
    assert 45 <= codes[""] <= 50, codes
    eventually(
        lambda: standing(ledger).standings[0].spent,
        lambda spent: spent == codes[""] * CALL,
        what="the spending that the pods tell",
        within_seconds=PATIENCE,
    )


def begun_stream(relay: Relay) -> Wire | None:
    """Asks for a stream; returns its connection once a part of it has come, None where it was refused."""
    wire = relay.wire()
    asked = chat_body(stream=True, max_tokens=TOKENS)
    wire.send(request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, asked))
    if wire.head().status != 200:
        wire.close()
        return None
    wire.chunk()
    return wire


def test_a_stream_that_is_read_on_for_a_caller_who_left_is_paid_as_the_ledger_books_it(
    ledger: LedgerProcess, pod: ServeBy, platform: Platform, stable: Upstream
) -> None:
    give_budget(ledger, 2)
    relay = pod("a")
    drained = platform.providers(drain=Drain(max_seconds=60, max_tokens=10_000))
    relay.push(platform.document(spending=bounded(), providers=drained))
    wait_served(relay)
    stable.behave(hold_after_events=2)
    wire = eventually(
        lambda: begun_stream(relay), within_seconds=PATIENCE, what="a stream that is served"
    )
    assert wire is not None
    wire.close()
    stable.behave(hold_after_events=None)
    # it is reserved until it has ended
    assert call_as_a_client(relay) == FINAL
    stable.release()
    eventually(
        lambda: relay.metrics().total("relay_drained_answers_total", end="usage"),
        lambda count: count == 1,
        what="the end of what is read on",
    )
    # and all of it is spent then, not the two tokens that its caller got
    assert call_as_a_client(relay) == FINAL
    eventually(
        lambda: standing(ledger).standings[0].spent,
        lambda spent: spent == 2 * CALL,
        what="the spending that the pod tells",
        within_seconds=PATIENCE,
    )


def test_the_refusal_says_what_is_spent_and_is_not_repeated_by_the_sdks(
    ledger: LedgerProcess, pod: ServeBy, node_sdk: Path
) -> None:
    give_budget(ledger, 1)
    relay = pod("a")
    wait_served(relay)
    refused = call(relay)
    assert refused.status == 429
    assert refused.header("x-should-retry") == "false"
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == (FINAL, FINAL)
    assert error["message"].startswith(
        "The tenant's budget of 0.0012 USD is spent: 0.00 USD are left"
    )
    assert "renews at 20" in error["message"]
    before = relay.metrics().total("relay_rejections_total", reason="budget_spent")
    url = f"http://127.0.0.1:{relay.port}/v1"
    with (
        OpenAI(base_url=url, api_key=KEY, max_retries=3) as client,
        pytest.raises(openai.RateLimitError) as raised,
    ):
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hi"}], max_tokens=TOKENS
        )
    assert raised.value.code == FINAL
    assert relay.metrics().total("relay_rejections_total", reason="budget_spent") == before + 1
    done = subprocess.run(
        ["node", "exercise.mjs", "retried"],
        cwd=node_sdk,
        env={"PATH": os.environ["PATH"], "OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    failed = json.loads(done.stdout)["retried"]["failed"]
    assert failed["status"] == 429, failed
    assert relay.metrics().total("relay_rejections_total", reason="budget_spent") == before + 2


@pytest.mark.parametrize(
    ("rates", "behaviour", "cost"),
    [
        (
            (RATE.model_copy(update={"output": 0, "cache_write": 50_000_000}),),
            {"prompt_tokens": 20, "cache_write_tokens": 20},
            20 * 50_000_000,
        ),
        (
            (RATE, RATE.model_copy(update={"tier": "priority", "output": 36_000_000})),
            {"service_tier": "priority"},
            3 * CALL,
        ),
    ],
    ids=["cache writes", "priority tier"],
)
def test_what_calls_cost_beside_plain_tokens_does_not_pass_a_hard_budget(
    ledger: LedgerProcess,
    pod: ServeBy,
    stable: Upstream,
    rates: tuple[Rate, ...],
    behaviour: dict[str, Any],
    cost: int,
) -> None:
    give_budget(ledger, 20)
    stable.behave(completion_tokens=TOKENS, **behaviour)
    relay = pod("a", bounded(rates=rates))
    with ThreadPoolExecutor(60) as callers:
        codes = Counter(callers.map(call_as_a_client, [relay] * 60))
    assert codes[""] + codes[FINAL] == 60
    assert 0 < codes[""] * cost <= 20 * CALL, codes
    eventually(
        lambda: standing(ledger).standings[0].spent,
        lambda spent: spent == codes[""] * cost,
        what="what the calls cost, and not what was reserved",
        within_seconds=PATIENCE,
    )


def test_what_a_killed_pod_had_leased_comes_back(ledger: LedgerProcess, pod: ServeBy) -> None:
    give_budget(ledger, 10)
    killed, other = pod("killed"), pod("other")
    wait_served(killed)
    killed.process.kill()
    served = 0
    deadline = time.monotonic() + PATIENCE
    while served < 9 and time.monotonic() < deadline:
        answer = call(other)
        served += answer.status == 200
        time.sleep(0 if answer.status == 200 else 0.1)
    # all but the call of the killed pod, which it told or has in its outbox
    assert served == 9


def test_without_its_ledger_a_pod_spends_its_slice_and_then_does_what_the_tenant_said(
    ledger: LedgerProcess, pod: ServeBy
) -> None:
    give_budget(ledger, 100)
    strict = pod("strict")
    easy = pod("easy", bounded(on_ledger_away="Serve"))
    for relay in (strict, easy):
        wait_served(relay)
    ledger.kill()
    answer = eventually(
        lambda: call(strict),
        lambda one: code(one) == "ledger_unavailable",
        what="a refusal",
        within_seconds=PATIENCE,
    )
    assert answer.status == 503
    for _ in range(20):
        assert call_as_a_client(easy) == ""
    ledger.start()
    wait_served(strict)
    # what was served meanwhile is spent
    eventually(
        lambda: standing(ledger).standings[0].spent,
        lambda spent: spent >= 22 * CALL,
        what="the spending of the time without a ledger",
        within_seconds=PATIENCE,
    )


def test_a_killed_worker_has_spent_what_it_has_spent(ledger: LedgerProcess, pod: ServeBy) -> None:
    give_budget(ledger, 10)
    relay = pod("a", workers="2")
    wait_served(relay)
    for worker in relay.process.workers():
        relay.process.signal_worker(worker, signal.SIGKILL)
    relay.wait_ready()
    served = 1
    while call_as_a_client(relay) == "":
        served += 1
    assert served == 10
    eventually(
        lambda: standing(ledger).standings[0].spent,
        lambda spent: spent == 10 * CALL,
        what="the spending of both lives",
        within_seconds=PATIENCE,
    )


def test_a_model_without_a_price_is_refused_under_a_budget(
    ledger: LedgerProcess, pod: ServeBy
) -> None:
    give_budget(ledger, 10)
    relay = pod("a", bounded(rates=(Rate(model="another", input=1, cached=1, output=1),)))
    answer = call(relay)
    assert (answer.status, code(answer)) == (503, "model_unpriced")
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("server_error", "model")
    assert answer.header("x-should-retry") == "false"


def test_searches_of_the_web_are_reserved_and_have_to_have_a_price(
    ledger: LedgerProcess, pod: ServeBy
) -> None:
    """A search costs as much as the call: what the call may search for has to be left of ten of them."""
    give_budget(ledger, 10)
    searched = RATE.model_copy(update={"web_search": CALL // 10**6})
    relay = pod("a", bounded(rates=(searched,)))
    wait_served(relay)

    def search(uses: int, by: Relay = relay) -> Answer:
        tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": uses}
        return by.chat(max_tokens=TOKENS, tools=[tool])

    answer = search(20)
    assert (answer.status, code(answer)) == (429, FINAL)
    assert "this call may cost up to 0.0252 USD" in answer.json()["error"]["message"]
    eventually(
        lambda: search(3).status,
        lambda status: status == 200,
        what="a served search",
        within_seconds=PATIENCE,
    )
    answer = search(3, pod("b"))
    assert (answer.status, code(answer)) == (503, "model_unpriced")
    assert "may search the web" in answer.json()["error"]["message"]


def test_a_model_without_a_price_is_served_under_a_budget_where_the_platform_says_so(
    ledger: LedgerProcess, pod: ServeBy
) -> None:
    give_budget(ledger, 2)
    other = Rate(model="another", input=1, cached=1, output=1)
    relay = pod("a", bounded(rates=(other,), on_unpriced="Serve"))
    wait_served(relay)
    # it counts for nothing, but what has a price counts
    assert [call(relay).status for _ in range(3)] == [200] * 3
    assert standing(ledger).standings[0].spent == 0


@pytest.mark.parametrize("caps", [None, SessionCaps(amount_micro=10**6)])
def test_a_model_without_a_price_is_refused_without_a_budget_where_the_platform_says_so(
    pod: ServeBy, caps: SessionCaps | None
) -> None:
    refusing = Spending(rates=(RATE,), on_unpriced="Refuse", session_caps=caps)
    assert call(pod("a", refusing)).status == 200
    answer = call(pod("b", refusing.model_copy(update={"rates": ()})))
    assert (answer.status, code(answer)) == (503, "model_unpriced")


def test_a_session_that_loops_is_stopped(pod: ServeBy, stable: Upstream) -> None:
    caps = SessionCaps(calls=3)
    relay = pod("a", Spending(session_caps=caps, rates=(RATE,)))
    codes = [code(call(relay, **{"x-session-id": "agent-7"})) for _ in range(4)]
    assert codes == ["", "", "", "session_limit_exceeded"]
    assert code(call(relay, **{"x-session-id": "agent-8"})) == ""
    assert code(call(relay)) == ""


@pytest.mark.parametrize(
    ("caps", "word"),
    [(SessionCaps(tokens=2 * TOKENS), "tokens"), (SessionCaps(amount_micro=2400), "money")],
)
def test_a_session_is_stopped_by_tokens_and_by_money(
    pod: ServeBy, caps: SessionCaps, word: str
) -> None:
    relay = pod("a", Spending(session_caps=caps, rates=(RATE,)))
    answers = [call(relay, **{"x-session-id": "agent-7"}) for _ in range(3)]
    assert [one.status for one in answers] == [200, 200, 429]
    assert f"all the {word} that one session may" in answers[2].json()["error"]["message"]
