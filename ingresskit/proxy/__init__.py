"""The in-process data plane."""
