"""Stories of canaries on the real cluster, played at the same time: each has a route, its own providers and its own traffic."""
