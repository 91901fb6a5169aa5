"""Only a signed, newer, complete document of this tenant takes effect; the last valid one stays until then."""

import json
import signal
from typing import Any

import pytest
from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.shared_relays import LOOK_SECONDS
from tests.blackbox.tenant import KEY, Platform, Signer, route
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually, steady
from tests.blackbox.wire import request_bytes
from tests.documents import with_tenant

from relay_contract.document import Acknowledgement, Document, ProviderAuth
from relay_contract.endpoints import CONFIG_PATH
from relay_contract.seal import payload_digest

LONG_ENOUGH_TO_BE_READ_SECONDS = 5 * LOOK_SECONDS


def retargeted(platform: Platform, target: str, **fields: Any) -> Document:
    """Returns a newer document that sends everything to another provider."""
    return platform.document(routes=[route(target)], **fields)


def envelope(signer: Signer, document: Document, **changes: Any) -> str:
    """Returns the document's envelope with some of its fields replaced."""
    return json.dumps({**json.loads(signer.sealed(document)), **changes})


def bad_envelopes(platform: Platform) -> dict[str, tuple[str, int, str]]:
    """Returns all envelopes that a relay must refuse, by name, with status and code."""
    signer = platform.signer
    good = retargeted(platform, "backup")
    payload = json.loads(signer.sealed(good))["payload"]
    moved = with_tenant(good, name="marketing", uid="another", namespace="relay-m")
    stranger = Signer()
    unknown_field = payload.replace('"generation":', '"surprise":1,"generation":')
    return {
        "not-json": ("hello", 400, "bad_envelope"),
        "empty": ("", 400, "bad_envelope"),
        "no-signature": (json.dumps({"payload": payload}), 400, "bad_envelope"),
        "signature-no-base64": (envelope(signer, good, signature="%%"), 400, "bad_envelope"),
        "signature-short": (envelope(signer, good, signature="AAAA"), 403, "bad_signature"),
        "another-signer": (stranger.sealed(good), 403, "bad_signature"),
        "payload-changed": (envelope(signer, good, payload=payload + " "), 403, "bad_signature"),
        "another-tenant": (signer.sealed(moved), 403, "wrong_tenant"),
        "unknown-field": (signer.sealed_text(unknown_field), 422, "invalid_document"),
        "no-document": (signer.sealed_text("{}"), 422, "invalid_document"),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("not-json", "empty", "no-signature", "signature-no-base64", "signature-short"),
        *("another-signer", "payload-changed", "another-tenant", "unknown-field", "no-document"),
    ],
)
def test_a_bad_push_is_refused_with_its_reason_and_changes_nothing(
    relay: Relay, platform: Platform, backup: Upstream, name: str
) -> None:
    before = relay.acknowledged()
    text, status, code = bad_envelopes(platform)[name]
    answer = relay.push_envelope(text)
    refused = answer.json()
    assert (answer.status, refused["error"]["code"]) == (status, code)
    assert (refused["digest"], refused["generation"]) == (before.digest, before.generation)
    assert relay.acknowledged() == before
    assert relay.chat().status == 200
    assert backup.calls() == 0


@pytest.mark.parametrize("name", ["not-json", "another-signer", "another-tenant", "unknown-field"])
def test_a_bad_file_is_refused_and_the_last_valid_document_stays_in_force(
    relay: Relay, platform: Platform, backup: Upstream, name: str
) -> None:
    before = relay.acknowledged()
    text, _, code = bad_envelopes(platform)[name]
    relay.write_envelope(text)
    eventually(relay.output, lambda output: code in output, what=f"a log line about {code}")
    assert relay.acknowledged() == before
    assert relay.chat().status == 200
    assert backup.calls() == 0


def test_a_push_is_acknowledged_with_the_document_in_force(
    relay: Relay, platform: Platform
) -> None:
    document = platform.document()
    acknowledged = relay.push(document)
    payload = json.loads(platform.signer.sealed(document))["payload"]
    assert acknowledged.generation == document.generation
    assert acknowledged.digest == payload_digest(payload)
    assert acknowledged.workers >= 1
    assert relay.acknowledged() == acknowledged


def test_an_acknowledged_push_is_in_force_at_once(
    relay: Relay, platform: Platform, stable: Upstream, backup: Upstream
) -> None:
    for target, upstream in (("backup", backup), ("stable", stable)) * 10:
        before = upstream.calls()
        relay.push(retargeted(platform, target))
        relay.chat()
        assert upstream.calls() == before + 1


def test_pushing_the_same_document_again_is_acknowledged_again(
    relay: Relay, platform: Platform
) -> None:
    document = platform.document()
    assert relay.push(document) == relay.push(document)


def test_an_older_generation_is_refused_as_stale(relay: Relay, platform: Platform) -> None:
    old = platform.document()
    relay.push(platform.document())
    answer = relay.push_envelope(platform.signer.sealed(old))
    assert (answer.status, answer.json()["error"]["code"]) == (409, "stale_generation")


def test_another_document_of_the_same_generation_is_a_conflict(
    relay: Relay, platform: Platform
) -> None:
    document = platform.document()
    relay.push(document)
    other = with_tenant(document, replicas=7)
    answer = relay.push_envelope(platform.signer.sealed(other))
    assert (answer.status, answer.json()["error"]["code"]) == (409, "conflicting_generation")


def test_a_document_that_is_kept_is_shown_with_its_signature(
    relay: Relay, platform: Platform
) -> None:
    """Only this convinces an operator that lost its memory of a document that it has to overtake."""
    old = platform.document()
    kept = platform.signer.sealed(platform.document())
    relay.push_envelope(kept)
    answer = relay.push_envelope(platform.signer.sealed(old))
    assert answer.json()["inForce"] == json.loads(kept)


def test_no_document_is_shown_to_who_cannot_sign_one(relay: Relay, platform: Platform) -> None:
    relay.push(platform.document())
    answer = relay.push_envelope(Signer().sealed(platform.document()))
    assert answer.status == 403
    assert "inForce" not in answer.json()


def test_an_oversized_push_is_refused_before_it_is_read(relay: Relay) -> None:
    answer = relay.push_envelope("x" * 2_000_000)
    assert answer.status in (400, 413)
    assert relay.chat().status == 200


def test_a_mounted_document_takes_effect_without_a_push(
    relay: Relay, platform: Platform, backup: Upstream
) -> None:
    document = retargeted(platform, "backup")
    relay.write_document(document)
    eventually(
        relay.acknowledged,
        lambda seen: seen.generation == document.generation,
        what="the file's generation",
    )
    relay.chat()
    assert backup.calls() == 1


def test_an_older_mounted_document_never_undoes_a_push(
    relay: Relay, platform: Platform, backup: Upstream
) -> None:
    old = platform.document()
    relay.push(retargeted(platform, "backup"))
    relay.write_document(old)
    steady(relay.acknowledged, for_seconds=LONG_ENOUGH_TO_BE_READ_SECONDS, what="what is in force")
    relay.chat()
    assert backup.calls() == 1


def test_the_symlink_swap_of_a_projected_volume_is_noticed(
    relay: Relay, platform: Platform, backup: Upstream
) -> None:
    # the kubelet replaces a ConfigMap's files by renaming the symlink ..data
    mount = relay.document_path.parent
    document = retargeted(platform, "backup")
    fresh = mount / f"..{document.generation}"
    fresh.mkdir()
    (fresh / relay.document_path.name).write_text(platform.signer.sealed(document))
    link = mount / "..data_tmp"
    link.symlink_to(fresh.name)
    link.replace(mount / "..data")
    relay.document_path.unlink()
    relay.document_path.symlink_to(f"..data/{relay.document_path.name}")
    eventually(
        relay.acknowledged,
        lambda seen: seen.generation == document.generation,
        what="the swapped file's generation",
    )
    relay.chat()
    assert backup.calls() == 1


def test_a_request_ends_with_the_document_it_began_with(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    stable.behave(hold_after_events=2)
    with relay.wire() as wire:
        headers = {"authorization": f"Bearer {KEY}"}
        wire.send(request_bytes("POST", CHAT, headers, chat_body(stream=True)))
        head = wire.head()
        wire.chunk()
        # neither the key nor the route nor the provider exists any more
        relay.push(platform.document(keys=(), routes=[], providers=[]))
        stable.release()
        assert wire.body_of(head).body.endswith(b"data: [DONE]\n\n")
    assert relay.chat().status == 401


def test_a_relay_without_a_document_is_alive_but_not_ready_and_says_why(
    new_relay: NewRelay,
) -> None:
    relay = new_relay(document=None)
    relay.wait_listening()
    assert relay.admin("GET", "/healthz").status == 200
    ready = relay.ready()
    assert ready.status == 503
    assert b"document" in ready.body
    assert relay.acknowledged().generation == 0


def test_a_first_document_makes_the_relay_ready(new_relay: NewRelay, platform: Platform) -> None:
    relay = new_relay(document=None)
    relay.wait_listening()
    relay.push(platform.document())
    relay.wait_ready()
    assert relay.chat().status == 200


def test_a_restarted_relay_prefers_a_pushed_document_to_an_older_file(
    new_relay: NewRelay, platform: Platform, backup: Upstream
) -> None:
    relay = new_relay()
    pushed = relay.push(retargeted(platform, "backup"))
    relay.restart()
    relay.wait_ready()
    assert relay.acknowledged() == pushed
    relay.chat()
    assert backup.calls() == 1


def test_a_restarted_relay_prefers_a_newer_file_to_its_kept_document(
    new_relay: NewRelay, platform: Platform, backup: Upstream
) -> None:
    relay = new_relay()
    relay.push(platform.document())
    relay.process.kill()
    newer = retargeted(platform, "backup")
    relay.write_document(newer)
    relay.restart()
    relay.wait_ready()
    assert relay.acknowledged().generation == newer.generation
    relay.chat()
    assert backup.calls() == 1


def test_a_damaged_state_file_is_ignored(new_relay: NewRelay, platform: Platform) -> None:
    relay = new_relay()
    relay.push(platform.document())
    relay.process.kill()
    for path in relay.state_directory.iterdir():
        path.write_text(path.read_text()[:-20] + "x" * 20)
    newest = platform.document()
    relay.write_document(newest)
    relay.restart()
    relay.wait_ready()
    assert relay.acknowledged().generation == newest.generation


def test_a_worker_that_dies_is_replaced_and_runs_the_document(new_relay: NewRelay) -> None:
    relay = new_relay()
    before = relay.acknowledged()
    for pid in relay.process.workers():
        relay.process.signal_worker(pid, signal.SIGKILL)
    eventually(
        lambda: (relay.ready().status, relay.acknowledged()),
        lambda seen: seen == (200, before),
        what="readiness after the worker's death",
    )
    assert relay.chat().status == 200


def test_a_rotated_provider_key_is_used_without_a_restart(relay: Relay, stable: Upstream) -> None:
    stable.behave(api_key="sk-rotated")
    assert relay.chat().status == 502
    relay.give_key("stable", "sk-rotated")
    eventually(lambda: relay.chat().status, lambda status: status == 200, what="the new key's use")


def test_the_acknowledgement_can_be_read_by_get(relay: Relay) -> None:
    answer = relay.admin("GET", CONFIG_PATH)
    assert answer.status == 200
    Acknowledgement.model_validate(answer.json())


def test_a_missing_provider_key_is_reported_until_its_file_exists(
    relay: Relay, platform: Platform
) -> None:
    document = platform.document(
        providers=platform.providers(auth=ProviderAuth(key_file="not-mounted-yet"))
    )
    assert set(relay.push(document).missing_keys) == {"stable", "canary", "backup"}
    relay.give_key("not-mounted-yet", "sk-late")
    assert relay.push(document).missing_keys == ()


def test_the_admin_port_serves_no_tenant_traffic_and_the_traffic_port_no_admin(
    relay: Relay,
) -> None:
    assert relay.admin("POST", CHAT, chat_body()).status in (404, 405)
    for path in (CONFIG_PATH, "/metrics", "/readyz", "/healthz"):
        assert relay.ask("GET", path).status == 404
