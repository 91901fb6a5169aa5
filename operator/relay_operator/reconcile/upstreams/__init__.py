"""Keeps what tenants have of Providers: whom each is open to, who has a part in its quota, what its Secrets hold, how it fares."""
