"""The tests of a canary and the verdict that rests on them: evidence that may be looked at as often as one likes."""
