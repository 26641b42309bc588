"""Types, checks, named random keys, numerics and the resolver. Imports nothing of ours."""
