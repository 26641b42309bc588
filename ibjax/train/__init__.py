"""The trainer: loop, state, mesh, checkpoints, records."""
