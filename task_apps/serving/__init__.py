"""What every task app over HTTP has in common: who may call, the routes, asking the model, the JSON bodies.

An app brings a `contract.Service`: its rows, its question, its score. `app.create_app` makes a FastAPI application of
it, `server` binds and serves it. It imports nothing of `mipro_walk`, holds no provider key and knows nothing of prompt
optimization. `task_apps.banking77` is built on it; docs/task-app-api.md describes what it speaks.
"""
