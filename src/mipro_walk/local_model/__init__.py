"""A small language model on this machine: verified weights and an OpenAI-compatible server.

``weights`` finds and fetches the GGUF file, ``engine`` runs llama.cpp in this process, ``app`` puts the OpenAI API
before it, in the form of ``openai_form``, and ``service`` serves that: ``python -m mipro_walk.local_model``.
"""

from mipro_walk.local_model.weights import WEIGHTS, Weights, custom, find, pull

KEY_VARIABLE = "MIPRO_WALK_LOCAL_MODEL_KEY"
"""Holds the key that the server asks of its clients."""

__all__ = ["KEY_VARIABLE", "WEIGHTS", "Weights", "custom", "find", "pull"]
