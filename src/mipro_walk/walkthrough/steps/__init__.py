"""One module for each of the six steps."""
