"""Objectives of the representation itself: coding rates, capacity, contrast, decorrelation."""
