"""Closed forms and exact solvers: what the learned things are held to."""
