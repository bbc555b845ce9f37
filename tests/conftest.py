"""What every test starts from."""

from __future__ import annotations

import signal

# A shell that starts us in the background ignores Ctrl-C for us and for every process we start; tests that press it
# need it as a person has it.
signal.signal(signal.SIGINT, signal.default_int_handler)
