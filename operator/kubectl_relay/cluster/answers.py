"""Turns what kubectl says of a failure into errors that say what to do."""

import re

from kubectl_relay.errors import Forbidden, NotFound, PluginError
from relay_operator.names import API_VERSION

_NO_SUCH_KIND = ("could not find the requested resource", "doesn't have a resource type")
_UNREACHABLE = (
    "Unable to connect to the server",
    "connection to the server",
    "no such host",
    "i/o timeout",
    "connect: connection refused",
)
_LOGGED_OUT = ("(Unauthorized)", "must be logged in", "getting credentials")
_OLD = ("unknown flag", "unknown command", "unknown shorthand flag")


def problem(said: str, what: str) -> PluginError:
    """Turns kubectl's error output into an error. what is what was attempted, as in "read Tenant finance"."""
    words = _words(said)
    if any(one in said for one in _NO_SUCH_KIND):
        return PluginError(
            f"this cluster does not know the kinds of {API_VERSION}: the relay-operator is not installed there, or your "
            "context is another cluster's (kubectl config current-context)"
        )
    if "(NotFound)" in said:
        return NotFound(words)
    if "(Forbidden)" in said or "forbidden:" in said:
        return Forbidden(f"you have no right to {what}: {words}")
    if any(one in said for one in _LOGGED_OUT):
        return PluginError(f"the cluster does not take your credentials: {words}")
    if any(one in said for one in _UNREACHABLE):
        return PluginError(
            f"the cluster does not answer: {words}; see kubectl config view --minify"
        )
    if any(one in said for one in _OLD):
        return PluginError(
            f"this kubectl is too old ({words}): use one of the cluster's version, as kubectl version shows"
        )
    return PluginError(f"kubectl could not {what}: {words}")


def _words(said: str) -> str:
    """Returns the last words of kubectl, without its log lines and without its name."""
    lines = [line for line in said.strip().splitlines() if not re.match(r"[EWI]\d{4} ", line)]
    told = lines[-1] if lines else "it said nothing"
    return re.sub(r"^(error: |Error from server \(\w+\): |Error: )", "", told).strip()
