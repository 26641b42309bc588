"""Training and measuring procedures as pure functions of (state, batch, hyperparameters)."""
