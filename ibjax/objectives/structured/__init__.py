"""Bottlenecks with a structure: several encoders, several features, an order, a side variable."""
