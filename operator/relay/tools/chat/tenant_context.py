"""Tells models the name, the plan and the tools of the tenant whose call they answer. Some providers take no headers."""

import json

from relay.tools.permissions import Permissions
from relay_contract.document import TenantDocument


def context_of(tenant: TenantDocument, permissions: Permissions) -> bytes:
    """Returns the text as a JSON string, of the servers whose grant asks for it; empty without one."""
    grants = tenant.tools.grants if tenant.tools is not None else ()
    servers = {grant.server for grant in grants if grant.context == "Inject"}
    if not servers:
        return b""
    tools = [name for name, one in permissions.tools.items() if one.server in servers]
    plan = f" (plan {tenant.tier})" if tenant.tier else ""
    listed = (
        f"Tools that may be called: {', '.join(sorted(tools))}."
        if tools
        else "There are no tools to call."
    )
    return json.dumps(f"This call is made for tenant {tenant.name}{plan}. {listed}").encode()
