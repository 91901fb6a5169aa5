"""One call: who asks, what is sent to a provider, what is answered."""
