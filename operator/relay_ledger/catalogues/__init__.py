"""Prices that others publish, made into price lists."""
