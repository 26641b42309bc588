"""Sparse autoencoders: a dictionary of latents of which few are active for an input."""
