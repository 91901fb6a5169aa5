"""The control plane: turns Tenants, Providers and RelayRoutes into relays and moves traffic by canary."""
