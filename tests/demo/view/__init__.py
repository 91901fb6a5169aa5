"""The live view of the demonstration: what every route's canary does now, in one line a route."""
