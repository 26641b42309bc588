"""Per-example values in, (sum, count) states out."""
