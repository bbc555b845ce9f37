"""The optimizer: no HTTP, no files, no printing, no clock of its own."""
