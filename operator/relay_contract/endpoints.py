"""Ports, paths, mounts and environment names that the operator and the relay agree on."""

TRAFFIC_PORT = 8080
"""Port of the tenants' calls."""
ADMIN_PORT = 8081
"""Port of probes, metrics and document pushes; never exposed by the tenant's Service."""

CONFIG_PATH = "/config"
"""PUT a sealed document, GET the acknowledgement of the one in force.

A pushed document that is not newer, or that a leader of the past pushes, is refused with 409; the answer's inForce is the
envelope of the one that is kept, its leader what the latest leader has shown.
"""
LEADER_HEADER = "relay-leader"
"""On a push: who pushes, as leader_epoch.show writes it; also of a document that an earlier leader composed."""
BREAKERS_PATH = "/breakers"
"""GET the canaries that workers of the pod keep calls away from, each with the probes of it that failed since.

With the query seen=TAG&wait=SECONDS the answer waits until its tag is another than the one seen, at most that long.
"""
PREFLIGHTS_PATH = "/preflights"
"""GET the preflights that the document in force asks for, each with how far the pod has come; waits like BREAKERS_PATH."""
ISOLATION_PATH = "/isolation"
"""GET the challenge for the next probe of isolation, POST a sealed request to connect to some addresses once."""
PROVIDER_PROBE_PATH = "/provider-probe"
"""GET with the query provider=NAME asks that provider of the document in force for its list of models, and tells what came of it;
with &stream=MODEL for two small answers of this model, one as a stream.
"""
QUOTA_USE_PATH = "/quota-use"
"""GET how much of what the pod holds of each provider's quota it uses (relay_contract.quota_use); waits like BREAKERS_PATH."""
HEALTH_PATH = "/healthz"
READY_PATH = "/readyz"
METRICS_PATH = "/metrics"
SLO_METRICS_PATH = "/metrics/slo"

DOCUMENT_MOUNT = "/etc/relay/document"
DOCUMENT_KEY = "relay.json"
"""The ConfigMap's only data key; the file below DOCUMENT_MOUNT that holds the sealed document."""
UPSTREAM_KEYS_MOUNT = "/etc/relay/upstream"
"""Files of what providers are shown: a key named like its provider, and what the document names besides."""
STATE_MOUNT = "/var/lib/relay"
"""An emptyDir: the accepted document survives a container restart here."""
TLS_MOUNT = "/etc/relay/tls"
"""Directory of tls.crt and tls.key when the tenant asked for TLS."""
KEPT_TLS_MOUNT = "/var/lib/relay-tls"
"""An emptyDir in memory: the last good pair survives a container restart here, and is never on a disk."""

LEDGER_TOKEN_MOUNT = "/etc/relay/ledger"  # noqa: S105 - a directory
"""Directory of the token by which the ledger knows the tenant's relays."""
OUTBOX_MOUNT = "/var/lib/relay/outbox"
"""An emptyDir: records of attempts that the ledger does not have yet survive a container restart here."""

ENV_LEDGER_URL = "RELAY_LEDGER_URL"
ENV_LEDGER_TOKEN_FILE = "RELAY_LEDGER_TOKEN_FILE"  # noqa: S105 - the name of a variable
ENV_OUTBOX_DIRECTORY = "RELAY_OUTBOX_DIRECTORY"
ENV_OUTBOX_MEBIBYTES = "RELAY_OUTBOX_MEBIBYTES"
ENV_TOOL_CALL_MEBIBYTES = "RELAY_TOOL_CALL_MEBIBYTES"
ENV_OUTBOX_WHEN_FULL = "RELAY_OUTBOX_WHEN_FULL"
ENV_OUTBOX_DRAIN_SECONDS = "RELAY_OUTBOX_DRAIN_SECONDS"
"""Absent, all seven of them, where there is no ledger."""
ENV_TENANT_UID = "RELAY_TENANT_UID"
ENV_DOCUMENT_PUBLIC_KEYS = "RELAY_DOCUMENT_PUBLIC_KEYS"
"""Comma-separated base64 of raw 32-byte Ed25519 public keys; several during a rotation of the signing key."""
ENV_POD_NAME = "RELAY_POD_NAME"
