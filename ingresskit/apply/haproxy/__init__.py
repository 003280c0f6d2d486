"""Putting an artifact live in a running HAProxy."""
