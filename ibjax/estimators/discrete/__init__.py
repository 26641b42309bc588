"""Estimators from counts of labels."""
