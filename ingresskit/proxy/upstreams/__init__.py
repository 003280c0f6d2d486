"""Endpoints, the connections to them, and which endpoint takes a request."""
