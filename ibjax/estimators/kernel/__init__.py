"""Measures built on a kernel between samples: bounds, densities, HSIC, matrix entropies."""
