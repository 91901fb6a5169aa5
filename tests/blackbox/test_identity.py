"""Authentication, models, and the shape of every refusal: OpenAI's error object for all statuses."""

import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import KEY, MODEL, MODELS, OTHER_KEY, TENANT, TENANT_UID, Platform, route
from tests.blackbox.upstream import Upstream
from tests.blackbox.wire import Answer
from tests.documents import with_tenant

from relay_contract.document import Match


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Basic {KEY}",
        f"Bearer {KEY} {KEY}",
        KEY.upper(),
        f"Bearer {'x' * 5000}",
    ],
    ids=[
        "none",
        "empty",
        "scheme",
        "blank",
        "wrong",
        "longer",
        "shorter",
        "basic",
        "two",
        "upper",
        "huge",
    ],
)
def test_a_call_without_a_valid_key_is_refused_with_401(
    relay: Relay, stable: Upstream, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = relay.chat(key=None, headers=headers)
    assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")
    assert stable.calls() == 0


@pytest.mark.parametrize("key", [KEY, OTHER_KEY], ids=["production", "staging"])
def test_every_key_of_the_tenant_is_valid(relay: Relay, key: str) -> None:
    assert relay.chat(key=key).status == 200


def test_the_bearer_scheme_is_not_case_sensitive(relay: Relay) -> None:
    # RFC 9110, 11.1
    assert relay.chat(key=None, headers={"authorization": f"bearer {KEY}"}).status == 200


def test_a_key_removed_from_the_document_is_refused_at_once(
    relay: Relay, platform: Platform
) -> None:
    document = platform.document()
    relay.push(with_tenant(document, keys=document.tenant.keys[1:]))
    assert relay.chat(key=KEY).status == 401
    assert relay.chat(key=OTHER_KEY).status == 200


@pytest.mark.parametrize("name", ["x-tenant-id", "X-TENANT-ID"])
def test_a_tenant_header_of_another_tenant_is_refused_with_403(
    relay: Relay, stable: Upstream, name: str
) -> None:
    answer = relay.chat(headers={name: "marketing"})
    assert (answer.status, answer.error()["code"]) == (403, "tenant_mismatch")
    assert stable.calls() == 0


def test_a_tenant_header_of_the_own_tenant_is_accepted_and_not_forwarded(
    relay: Relay, stable: Upstream
) -> None:
    assert relay.chat(headers={"x-tenant-id": TENANT}).status == 200
    assert stable.only_request().header("x-tenant-id") is None


def test_a_tenant_header_grants_nothing(relay: Relay) -> None:
    answer = relay.chat(key=None, headers={"x-tenant-id": TENANT})
    assert answer.status == 401


def test_the_provider_gets_its_own_key_and_never_the_clients(
    relay: Relay, stable: Upstream
) -> None:
    relay.chat()
    request = stable.only_request()
    # printf 'Bearer sk-upstream-stable-secret' | sha256sum
    digest = "sha256:51d3d303819ad7ca7d627369cb385456aaaf31feeba187e5183d0c9e83acbef1"
    assert request.all_of("authorization") == [digest]


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1",
        "/v1/",
        "/v2/chat/completions",
        "/v1/chat/completions/",
        "/v1/files",
        "/metrics",
        "/config",
    ],
)
def test_an_unknown_path_is_refused_with_404(relay: Relay, stable: Upstream, target: str) -> None:
    answer = relay.ask("POST", target, body=chat_body())
    assert answer.status == 404
    assert answer.error()["type"] == "invalid_request_error"
    assert stable.calls() == 0


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("DELETE", CHAT, "POST"),
        ("PUT", "/v1/embeddings", "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", f"/v1/models/{MODEL}", "GET"),
    ],
)
def test_a_wrong_method_is_refused_with_405_and_the_allowed_ones(
    relay: Relay, method: str, target: str, allowed: str
) -> None:
    answer = relay.ask(method, target)
    assert (answer.status, answer.error()["code"]) == (405, "method_not_allowed")
    # RFC 9110, 15.5.6
    assert allowed in (answer.header("allow") or "")


def test_an_unknown_model_is_refused_with_404_and_the_models_that_exist(
    relay: Relay, stable: Upstream
) -> None:
    answer = relay.chat(model="gpt-9")
    error = answer.error()
    assert (answer.status, error["code"], error["param"]) == (404, "model_not_found", "model")
    for name in MODELS:
        assert name in error["message"]
    assert "gpt-9" in error["message"]
    assert stable.calls() == 0


def test_only_routed_models_exist(relay: Relay, platform: Platform) -> None:
    relay.push(platform.document(routes=[route(match=Match(models=(MODEL,)))]))
    assert listed(relay.ask("GET", "/v1/models")) == [MODEL]
    assert relay.chat().status == 200
    refused = relay.chat(model=MODELS[1])
    assert refused.status == 404
    assert MODELS[1] not in refused.error()["message"].split("exist", 1)[-1].replace(
        f"'{MODELS[1]}'", ""
    )


def test_one_model_can_be_looked_up(relay: Relay) -> None:
    answer = relay.ask("GET", f"/v1/models/{MODEL}")
    assert answer.status == 200
    assert (answer.json()["id"], answer.json()["object"]) == (MODEL, "model")
    absent = relay.ask("GET", "/v1/models/absent")
    assert (absent.status, absent.error()["code"]) == (404, "model_not_found")


def test_a_tenant_without_routes_has_no_models(relay: Relay, platform: Platform) -> None:
    relay.push(platform.document(routes=[]))
    assert listed(relay.ask("GET", "/v1/models")) == []
    assert relay.chat().error()["code"] == "model_not_found"


def test_a_suspended_tenant_is_refused(relay: Relay, platform: Platform, stable: Upstream) -> None:
    relay.push(platform.document(suspended=True))
    answer = relay.chat()
    assert (answer.status, answer.error()["code"]) == (403, "tenant_suspended")
    assert stable.calls() == 0


def test_v1_me_returns_the_callers_tier_and_limits(relay: Relay) -> None:
    answer = relay.ask("GET", "/v1/me")
    assert answer.status == 200
    told = answer.json()
    assert told["tier"] == "premium"
    assert TENANT_UID not in answer.body.decode()
    assert relay.ask("GET", "/v1/me", key=None).status == 401


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"text"', "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b'{"model": "\xff"}', "invalid_json"),
        (b"{}", "missing_model"),
        (b'{"model": null}', "missing_model"),
        (b'{"model": 7}', "missing_model"),
        (b'{"model": ""}', "missing_model"),
    ],
)
def test_a_body_that_cannot_be_routed_is_refused_with_400(
    relay: Relay, stable: Upstream, body: bytes, code: str
) -> None:
    answer = relay.ask("POST", CHAT, body=body)
    assert (answer.status, answer.error()["code"]) == (400, code)
    assert stable.calls() == 0


@pytest.mark.parametrize(
    "fields",
    [
        b'"messages":"x"',
        b'"messages":[7,[],null]',
        b'"messages":[{"role":7,"content":{"a":1}}]',
        b'"messages":null,"n":"x","max_tokens":"y"',
        b'"messages":[],"n":1e9,"max_tokens":99999999999999999999',
        b'"messages":[],"prompt_cache_key":7,"user":[]',
        b'"messages":[],"stream":"yes","stream_options":7',
    ],
)
def test_fields_the_relay_does_not_read_are_left_to_the_provider(
    relay: Relay, stable: Upstream, fields: bytes
) -> None:
    body = b'{"model":"gpt-4.1",%b}' % fields
    assert relay.ask("POST", CHAT, body=body).status == 200
    assert stable.only_request().body == body


def test_deeply_nested_json_neither_crashes_nor_stops_the_relay(relay: Relay) -> None:
    body = (
        b'{"model":"' + MODEL.encode() + b'","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    )
    assert relay.ask("POST", CHAT, body=body).status in (200, 400)
    assert relay.chat().status == 200


def listed(answer: Answer) -> list[str]:
    assert answer.status == 200
    body = answer.json()
    assert body["object"] == "list"
    return sorted(model["id"] for model in body["data"])
