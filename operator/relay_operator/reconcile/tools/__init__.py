"""ToolServers and the grants of their tenants."""
