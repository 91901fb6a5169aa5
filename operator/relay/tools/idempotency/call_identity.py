"""Which calls of a tool are the same one: by the key that a client gives, else by everything that is asked.

The protocol has no key of its own. The header is that of draft-ietf-httpapi-idempotency-key-header; clients that cannot set one
for a single call say the key in the message.
"""

import hashlib
import json
import re
from typing import Final, NamedTuple

from relay.tools.reading.eras import Era
from relay.tools.reading.messages import Message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import binding_of

META_KEY: Final = "idempotencyKey"
MAX_KEY_CHARACTERS: Final = 255
_KEY: Final = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARACTERS}}}")


class CallIdentity(NamedTuple):
    """Holds what tells a call from others and what it asks for, both as SHA-256: calls with one key and other arguments are no repeat."""

    call: str
    arguments: str


def identity_of(
    message: Message, *, caller: str, era: Era, server: str, header: str | None
) -> CallIdentity | ProtocolError:
    """Returns the identity of a call, or why it has none. caller names the tenant and its API key; header is Idempotency-Key.

    Every round of a call is a call by itself: with other input, or another state, it is no repeat. A repeat in another session is one.
    """
    key = _key_of(message, header)
    if isinstance(key, ProtocolError):
        return key
    arguments = binding_of(server, message.method, message.params)
    state = message.params.get("requestState") if era is Era.MODERN else None
    rounds = [state, message.params.get("inputResponses")]
    name = message.params.get("name")
    asked = ["key", key] if key is not None else ["arguments", arguments]
    text = json.dumps([caller, era.value, server, name, asked, rounds], sort_keys=True)
    return CallIdentity(hashlib.sha256(text.encode()).hexdigest(), arguments)


def _key_of(message: Message, header: str | None) -> str | ProtocolError | None:
    meta = message.params.get("_meta")
    said = meta.get(META_KEY) if isinstance(meta, dict) else None
    if said is not None and header is not None and said != header:
        return ProtocolError.header_mismatch
    key = header if said is None else said
    if key is None:
        return None
    is_key = isinstance(key, str) and _KEY.fullmatch(key) is not None
    return key if is_key else ProtocolError.invalid_params
