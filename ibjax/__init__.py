"""ibjax: a JAX research framework for bottlenecked representation learning."""

__version__ = "0.1.0"
