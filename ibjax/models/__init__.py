"""Encoders and decoders: the only room that imports flax.linen."""
