"""Objectives that pay for what the parameters learn of the training set."""
