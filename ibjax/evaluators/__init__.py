"""What is measured of a trained model, as per-example values."""
