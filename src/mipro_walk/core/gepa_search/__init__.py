"""GEPA, reflective prompt evolution: the ``gepa`` package over this project's evaluator, meta-model and rows."""
