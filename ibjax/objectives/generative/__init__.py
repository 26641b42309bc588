"""Objectives of models that generate their input again from the code."""
