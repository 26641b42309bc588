"""Objectives around another one: a convex function of its rate, a beta that is learned."""
