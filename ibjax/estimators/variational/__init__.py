"""Learned bounds: a network is fitted, and reported on rows that it has not seen."""
