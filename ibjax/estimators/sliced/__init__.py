"""Averages of scalar information over random projections."""
