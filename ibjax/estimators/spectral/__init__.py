"""Entropy, information and dimension of spectra: of diffusion, covariances and Jacobians."""
