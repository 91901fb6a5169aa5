"""What to try with a cluster that the demonstration left: each works as pasted, in the root of the checkout."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.demo.commands import Cluster

_PATCH = "kubectl -n relay-finance patch relayroute chat --type=merge -p"
_WAIT = "kubectl -n relay-finance wait relayroute chat --for=jsonpath"


@dataclass(frozen=True, slots=True)
class Thing:
    """What it shows, and the commands."""

    title: str
    commands: Sequence[str]


def setting(cluster: Cluster) -> str:
    """Returns the line that makes kubectl in a shell the one of this cluster."""
    return f"export KUBECONFIG={_quoted(cluster.kubeconfig)} PATH={_quoted(cluster.kubectl_path.parent)}:$PATH"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def things() -> Sequence[Thing]:
    """Returns three things to try, in this order."""
    body = '{"model":"gpt-4.1","messages":[{"role":"user","content":"hello"}]}'
    return (
        Thing(
            "see where the canary stands, and why",
            (
                "kubectl get relay -A -o wide",
                "kubectl -n relay-finance describe relayroute chat",
            ),
        ),
        Thing(
            "call the relay as the tenant's application does",
            (
                "kubectl -n relay-finance port-forward svc/relay 18080:8080 >/dev/null & sleep 2",
                "KEY=$(kubectl -n relay-finance get secret relay-api-keys -o jsonpath='{.data.production}' | base64 -d)",
                'curl -sS http://127.0.0.1:18080/v1/chat/completions -H "Authorization: Bearer $KEY" '
                f"-H 'Content-Type: application/json' -d '{body}'; echo; kill $!",
            ),
        ),
        Thing(
            "take all traffic from the canary at once, and try it again without waiting for its cool-down",
            (
                f'{_PATCH} \'{{"spec":{{"canary":{{"percent":0}}}}}}\'',
                f"{_WAIT}='{{.status.weights.canaryPercent}}'=0 --timeout=30s",
                f'{_PATCH} \'{{"spec":{{"canary":{{"percent":50}}}}}}\'',
                f"{_WAIT}='{{.status.canaryFingerprint}}' --timeout=30s",
                'kubectl -n relay-finance annotate --overwrite relayroute chat relay-operator.dev/retry="$('
                "kubectl -n relay-finance get relayroute chat -o jsonpath='{.status.canaryFingerprint}/{.status.run}')/force\"",
                f"{_WAIT}='{{.status.weights.canaryPercent}}'=25 --timeout=60s",
            ),
        ),
    )


def text(cluster: Cluster) -> str:
    """Writes it down for the terminal."""
    lines = ["Three things to try, in a shell in this directory. First:", f"  {setting(cluster)}"]
    for number, thing in enumerate(things(), 1):
        lines += [f"{number}. {thing.title}:", *(f"  {command}" for command in thing.commands)]
    return "\n".join(lines)
