"""The local job backend: one process that serves the job API and runs the optimizer."""
