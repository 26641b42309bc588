"""What estimators are made with: the contract, checks of samples, intervals, tiles, fitting."""
