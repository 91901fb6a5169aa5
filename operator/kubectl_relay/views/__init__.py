"""Pure forms of what is shown, made from objects as the API server has them; -o json prints them as they are."""
