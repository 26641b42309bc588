"""Objectives made of kernels between the examples of a batch."""
