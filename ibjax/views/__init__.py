"""Augmented views of an input, for objectives that compare them."""
