"""Estimates between compressed variables, where the variables themselves are too wide."""
