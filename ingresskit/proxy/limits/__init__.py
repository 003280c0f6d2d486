"""How many connections clients may have, and how much memory they may hold."""
