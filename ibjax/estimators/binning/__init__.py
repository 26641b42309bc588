"""Plug-in information of binned activations."""
