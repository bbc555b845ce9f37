"""A person's own task: a folder with ``task.toml``, data and a run configuration. No code is needed."""
