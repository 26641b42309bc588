"""Objectives of sparse autoencoders."""
