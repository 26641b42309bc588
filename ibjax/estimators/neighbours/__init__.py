"""Estimators by the distances of nearest neighbours."""
