"""Telling the cluster what happened."""
