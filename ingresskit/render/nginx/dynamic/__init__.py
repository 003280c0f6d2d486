"""The dynamic mode of nginx: tables for a Lua program."""
