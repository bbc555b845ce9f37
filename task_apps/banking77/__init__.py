"""A Banking77 intent-classification task app: rows, one question to a model, a score.

It stands alone: it imports nothing of `mipro_walk`, holds no provider key and knows nothing of prompt
optimization. Run it with `python -m task_apps.banking77`; README.md beside this file has examples.

Modules: `data` (splits, order, slices), `sources` (where rows come from), `prompts` (the messages),
`policy` (asks the model), `scoring` (reads the answer), `documents` (the JSON bodies), `guards` (host and
key checks), `schemas` (request bodies), `settings`, `app` (`create_app`).
"""
