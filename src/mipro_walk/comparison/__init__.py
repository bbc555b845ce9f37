"""Methods against each other on the same rows, budget, cache and model; finished jobs beside each other."""
