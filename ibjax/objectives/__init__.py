"""What is minimised, one method a file, grouped in families."""
