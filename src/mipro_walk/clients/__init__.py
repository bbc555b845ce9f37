"""HTTP adapters: the model endpoints, the task app, the backend."""
