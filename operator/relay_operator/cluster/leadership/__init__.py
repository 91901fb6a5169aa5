"""The Lease at the API server, and the fence that keeps an operator without it from acting."""
