"""The books of prices that the operator gives."""
