"""Money as integers: prices in micro-USD, amounts in pico-USD, rounded nowhere but on the line of a statement."""
