"""Pure decisions: values in, values out; the clock is an argument."""
