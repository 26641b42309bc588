"""Estimators that assume a family of distributions, and fit it."""
