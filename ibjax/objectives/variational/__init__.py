"""Variational bounds on information-bottleneck objectives."""
