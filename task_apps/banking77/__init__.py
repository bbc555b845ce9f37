"""A Banking77 intent-classification task app: rows, one question to a model, a score.

It stands alone: it imports nothing of `mipro_walk`, holds no provider key and knows nothing of prompt
optimization. Run it with `python -m task_apps.banking77`; README.md beside this file has examples.

Modules: `data` (splits, order, slices), `sources` (where rows come from), `prompts` (the messages), `scoring`
(reads the answer), `documents` (the JSON bodies), `app` (`create_app`). What has to do with HTTP and not with this
task is in `task_apps.serving`.
"""
