"""Estimators that choose among others by what the data show."""
