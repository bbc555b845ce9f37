"""A small language model on this machine: verified weights and an OpenAI-compatible server.

``weights`` finds and fetches the GGUF file, ``engine`` runs llama.cpp in this process, ``service``
puts the OpenAI API before it. Start it with ``python -m mipro_walk.local_model``.
"""

from mipro_walk.local_model.weights import WEIGHTS, Weights, custom, find, pull

__all__ = ["WEIGHTS", "Weights", "custom", "find", "pull"]
