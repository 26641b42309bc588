"""Mutual information, entropy and dependence, each a pure function in a file of its own."""
