"""Plain supervised losses: the baselines a bottleneck is compared with."""
