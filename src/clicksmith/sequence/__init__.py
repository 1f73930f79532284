"""How a history becomes an interest."""
