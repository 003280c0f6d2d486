"""The static mode of nginx: files and reloads."""
