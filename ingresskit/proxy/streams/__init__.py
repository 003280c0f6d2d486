"""Connections of clients that are passed on to endpoints as streams of bytes."""
