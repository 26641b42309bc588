"""Many processes and many jobs: how they start, find each other, and survive."""
