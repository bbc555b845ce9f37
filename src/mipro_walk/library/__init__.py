"""The optimizer with plain callables, sync or async: no server and no files. ``mipro_walk`` has its public names."""
