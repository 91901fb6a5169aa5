"""Secrets of tenants and providers never appear in a log, a metric, an error or another caller's answer."""

import base64
import hashlib

from tests.blackbox.relays import CHAT, Relay
from tests.blackbox.tenant import KEY, OTHER_KEY, Platform, provider
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually

PROMPT = "the-prompt-nobody-may-log-5a1c"
HEADER = "the-header-nobody-may-log-77e0"
QUERY = "the-query-nobody-may-log-19bd"
TOOL = "the-tool-nobody-may-log-c3d2"
FIXED = "the-fixed-header-of-the-provider-88aa"
ANSWER = "traffic between upstreams"
"""Words that the simulator answers with."""
UPSTREAM_KEY = "sk-upstream-stable-secret"
PLANTED = (PROMPT, HEADER, QUERY, TOOL, FIXED, ANSWER, UPSTREAM_KEY, KEY, OTHER_KEY)


def spellings(secret: str) -> list[str]:
    """Returns the secret and the forms in which it could leak; a key's digest would be enough to find it."""
    raw = secret.encode()
    return [secret, base64.b64encode(raw).decode()[:-4], hashlib.sha256(raw).hexdigest()]


def traffic(relay: Relay, stable: Upstream) -> None:
    """Makes calls with secrets in them: calls that succeed, fail in every layer, and are refused."""
    message = [{"role": "user", "content": PROMPT}]
    tools = [{"type": "function", "function": {"name": TOOL, "parameters": {}}}]
    headers = {"x-secret": HEADER, "cookie": HEADER, "x-task-type": HEADER, "x-session-id": HEADER}
    for stream in (False, True):
        for fault in (None, "reset", "die", "garbage", "not_http", "error_event", "stall"):
            stable.behave(fault=fault)
            relay.chat(messages=message, headers=headers, stream=stream, tools=tools)
    stable.reset()
    stable.behave(error_percent=100, error_status=401)
    relay.chat(messages=message)
    stable.reset()
    relay.chat(messages=message, prompt_cache_key=PROMPT, user=PROMPT)
    relay.chat(model=PROMPT, messages=message)
    relay.chat(key=f"{KEY}{PROMPT}", messages=message)
    relay.chat(headers={"x-tenant-id": HEADER}, messages=message)
    relay.chat(headers={"x-request-priority": HEADER}, messages=message)
    relay.ask("POST", f"{CHAT}?api-key={QUERY}", body=PROMPT.encode())
    relay.ask("POST", f"/v1/{QUERY}", body=PROMPT.encode())
    relay.ask("GET", f"/v1/models/{QUERY}")
    with relay.wire() as wire:
        wire.send(
            f"POST {CHAT} HTTP/1.1\r\nauthorization: Bearer {KEY}\r\n{HEADER}\r\n\r\n".encode()
        )
        wire.rest()


def test_planted_secrets_never_reach_logs_or_metrics(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    providers = [provider("stable", stable.url, headers={"x-fixed": FIXED})]
    relay.push(platform.document(providers=providers))
    traffic(relay, stable)
    # the refused tenant is the last call; once its line is there, everything before it was written
    relay.chat(headers={"x-request-id": "the-last-call"})
    log = eventually(relay.output, lambda text: "the-last-call" in text, what="the last usage line")
    pages = "".join(
        relay.admin("GET", path).body.decode()
        for path in ("/metrics", "/metrics/slo", "/readyz", "/healthz", "/config")
    )
    for secret in PLANTED:
        for spelling in spellings(secret):
            assert spelling not in log, secret
            assert spelling not in pages, secret


def test_log_lines_cannot_be_forged(relay: Relay) -> None:
    forged = '{"event":"forged"}'
    relay.chat(headers={"x-request-id": f"a%0a{forged}"})
    relay.chat(model=f"x\n{forged}")
    relay.chat(model=f"x\r\n\u2028{forged}", headers={"x-session-id": forged})
    relay.ask("GET", f"/v1/models/%0a{forged}")
    relay.chat(headers={"x-request-id": "after-the-forgery"})
    log = eventually(
        relay.output, lambda text: "after-the-forgery" in text, what="the last usage line"
    )
    assert not any(line.startswith(forged) for line in log.splitlines())


def test_errors_do_not_echo_keys_or_prompts(relay: Relay, stable: Upstream) -> None:
    wrong = f"{KEY}wrong"
    assert wrong not in relay.chat(key=wrong).body.decode()
    stable.behave(fault="reset")
    message = [{"role": "user", "content": PROMPT}]
    answer = relay.chat(messages=message)
    assert PROMPT not in answer.body.decode()
    assert UPSTREAM_KEY not in answer.body.decode()
    assert str(stable.port) not in answer.body.decode()


def test_a_metric_label_cannot_be_injected(relay: Relay) -> None:
    relay.chat(model='x",injected="1')
    relay.chat(headers={"x-task-type": 'x"} 1\nrelay_forged 1'.replace("\n", " ")})
    text = relay.admin("GET", "/metrics").body.decode()
    assert "injected" not in text
    assert "relay_forged" not in text
