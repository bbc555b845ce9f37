"""``python -m mipro_walk.local_model``: see ``service.main``."""

import os
import sys

from mipro_walk.local_model.service import main

if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: llama.cpp may still be inside an answer, and its thread would hold up or crash a
    # regular interpreter shutdown. Nothing is left to clean up.
    os._exit(code)
