"""Sockets that clients connect to."""
