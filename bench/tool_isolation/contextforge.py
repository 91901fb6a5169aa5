"""`python -m bench.tool_isolation.contextforge VENV`: tries ContextForge by the suite for tools, set up as it documents for two teams.

VENV is a virtual environment with it (`pip install mcp-contextforge-gateway`), outside the repository. Each tenant is a team of its own with
a user, a registration of the server behind and a virtual server with the tenant's tools, prompt and resource, all visible to the team alone,
and is given an API token of that team for that virtual server. Everything listens on 127.0.0.1, and its database is in a directory that goes.
The limit on the rate of calls is off but for row 9, which is run by itself with the gateway's default. More arguments are the rows to run, without any all of them.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.blackbox.process import Process, free_ports
from tests.blackbox.session_server import serving_sessions
from tests.blackbox.waiting import eventually
from tests.tool_isolation import report
from tests.tool_isolation.callers import Caller
from tests.tool_isolation.gateway import ByHand, Gateway, Tenant
from tests.tool_isolation.rows import ROWS
from tests.tool_isolation.watched_server import (
    OTHER_PROMPT,
    OTHER_RESOURCE,
    OTHER_TOOL,
    OWN_PROMPT,
    OWN_RESOURCE,
    OWN_TOOL,
    SHARED_TOOL,
    WatchedServer,
)

ROUNDS: Final = int(os.environ.get("ISOLATION_ROUNDS", "1000"))
PAIRS: Final = int(os.environ.get("ISOLATION_PAIRS", "1000"))
START_SECONDS: Final = 180
ANSWER_SECONDS: Final = 70
"""Longer than the 60 s after which it gives a call of a tool up."""
ADMIN: Final = "admin@example.com"
TENANTS: Final = {
    "a": (OWN_TOOL, OWN_PROMPT, OWN_RESOURCE),
    "b": (OTHER_TOOL, OTHER_PROMPT, OTHER_RESOURCE),
}


class Api:
    """The gateway's REST API, by the token of its administrator."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token

    def is_up(self) -> bool:
        """Tells whether the gateway answers."""
        try:
            return bool(self.ask("GET", "/health"))
        except OSError:
            return False

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Returns the answer to a request; raises OSError with what was said if it is refused."""
        content = None if body is None else json.dumps(body).encode()
        fields = {"content-type": "application/json", "authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(self.url + path, content, fields, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise OSError(f"{method} {path}: {error.code} {error.read()[:300]!r}") from error


def main(argv: Sequence[str]) -> int:
    """Returns the exit code of the suite."""
    venv, *more = argv
    port, behind = free_ports(2)
    limited = "9" in more
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": directory,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "DATABASE_URL": f"sqlite:///{work}/gateway.db",
            "CACHE_TYPE": "memory",
            "JWT_SECRET_KEY": secrets.token_hex(32),
            "AUTH_ENCRYPTION_SECRET": secrets.token_hex(32),
            "PLATFORM_ADMIN_EMAIL": ADMIN,
            "PLATFORM_ADMIN_PASSWORD": _password(),
            "BASIC_AUTH_PASSWORD": _password(),
            "MCPGATEWAY_ADMIN_API_ENABLED": "true",
            # the server behind is on this machine
            "SSRF_ALLOW_LOCALHOST": "true",
            "RATE_LIMITING_ENABLED": str(limited).lower(),
        }
        command = [f"{venv}/bin/mcpgateway", "--host", "127.0.0.1", "--port", str(port)]
        log = work / "gateway.log"
        process = Process(command, environment=environment, log=log)
        try:
            api = Api(f"http://127.0.0.1:{port}", _admin_token(venv, environment))
            eventually(api.is_up, within_seconds=START_SECONDS, what="the gateway's start")
            with serving_sessions(WatchedServer(), behind) as server:
                one, other = (_tenant(api, name, server.url) for name in TENANTS)
                gateway = Gateway(
                    one,
                    other,
                    "erp-a-list-secrets",
                    server,
                    ByHand(log=lambda: log.read_text(), limit=(lambda: None) if limited else None),
                    rounds=ROUNDS,
                    pairs=PAIRS,
                    hang_seconds=6,
                )
                found = {row.name: row.run(gateway) for row in ROWS if not more or row.name in more}
            print(*report.lines(found), sep="\n")
            return 0 if report.is_whole(found) else 1
        finally:
            process.kill()


def _password() -> str:
    return f"Kq7!{secrets.token_urlsafe(16)}"


def _admin_token(venv: str, environment: Mapping[str, str]) -> str:
    """Returns a token of the administrator, made by the gateway's own command."""
    module = ["-m", "mcpgateway.utils.create_jwt_token", "--username", ADMIN, "--admin"]
    command = [f"{venv}/bin/python", *module, "--secret", environment["JWT_SECRET_KEY"]]
    made = subprocess.run(
        command, env=dict(environment), check=True, capture_output=True, text=True
    )
    return made.stdout.split()[-1]


def _tenant(api: Api, name: str, behind: str) -> Tenant:
    """Sets up a team with a user, the server behind, a virtual server and a token; returns it as a tenant."""
    own, prompt, uri = TENANTS[name]
    mail = f"user-{name}@example.com"
    user = {"email": mail, "password": "Kq7!mZr2#Vt9xWp4", "full_name": f"User {name.upper()}"}
    api.ask("POST", "/auth/email/admin/users", user)
    team = api.ask("POST", "/teams/", {"name": f"Team {name.upper()}"})["id"]
    api.ask("POST", f"/teams/{team}/members", {"email": mail, "role": "member"})
    of_team = {"team_id": team, "visibility": "team"}
    registered = {
        "name": f"erp-{name}",
        "url": behind,
        "transport": "STREAMABLEHTTP",
        "auth_type": "bearer",
        "auth_token": secrets.token_urlsafe(24),
    }
    api.ask("POST", "/gateways", {**registered, **of_team})
    shared, tool = (f"erp-{name}-{one.replace('_', '-')}" for one in (SHARED_TOOL, own))
    prompts = _ids(api, "prompts", "name")
    mine = f"erp-{name}-{prompt}"
    server = {
        "name": f"server-{name}",
        "associated_tools": [_ids(api, "tools", "name")[one] for one in (shared, tool)],
        "associated_prompts": [prompts[mine]] if mine in prompts else [],
        "associated_resources": [i for u, i in _ids(api, "resources", "uri").items() if u == uri],
    }
    made = api.ask("POST", "/servers", {"server": server, **of_team})["id"]
    scope = {"server_id": made, "permissions": []}
    asked = {"name": f"key-{name}", "expires_in_days": 1, "team_id": team, "user_email": mail}
    key = api.ask("POST", "/tokens", {**asked, "scope": scope})["access_token"]
    caller = Caller(f"{api.url}/servers/{made}/mcp", f"Bearer {key}", seconds=ANSWER_SECONDS)
    return Tenant(
        caller,
        shared,
        tool,
        mine if server["associated_prompts"] else "",
        uri if server["associated_resources"] else "",
    )


def _ids(api: Api, kind: str, key: str) -> dict[str, str]:
    return {one[key]: one["id"] for one in api.ask("GET", f"/{kind}?limit=0")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
