"""Data: sources with random access, the order of batches, the feed to devices."""
