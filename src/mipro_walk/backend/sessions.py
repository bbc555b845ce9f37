"""Who may use the live page: single-use codes, session tokens, and a limit on wrong guesses.

A code is asked for with a bearer key and handed to a browser in the fragment of an address, which no server sees; the
page spends it once for a token. Codes and tokens live in memory only, tokens as hashes: a restart ends every session.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

CODE_SECONDS = 60.0
SESSION_SECONDS = 12 * 3600.0
MAX_CODES = 20
MAX_SESSIONS = 100
SECRET_BYTES = 32
WRONG_BURST = 10
WRONG_PER_SECOND = 0.5

Clock = Callable[[], float]
"""Seconds since any fixed moment; it has to go on while the machine sleeps."""


class Sessions:
    """Codes and sessions of one backend. Safe to share between threads."""

    def __init__(self, now: Clock = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._codes: dict[bytes, float] = {}
        self._tokens: dict[bytes, float] = {}

    def issue_code(self) -> str:
        """Return a new code, good once within CODE_SECONDS. The oldest goes when there are too many."""
        with self._lock:
            return self._add(self._codes, CODE_SECONDS, MAX_CODES)

    def redeem(self, code: str) -> str | None:
        """Spend a code: return the token of a new session, or ``None`` if it is unknown, spent or too old."""
        with self._lock:
            found = self._find(self._codes, code)
            if found is None:
                return None
            del self._codes[found]
            return self._add(self._tokens, SESSION_SECONDS, MAX_SESSIONS)

    def open(self) -> str:
        """Return the token of a new session, for somebody who has shown a key."""
        with self._lock:
            return self._add(self._tokens, SESSION_SECONDS, MAX_SESSIONS)

    def accepts(self, token: str) -> bool:
        """Whether the token is that of a session that has not ended."""
        with self._lock:
            return self._find(self._tokens, token) is not None

    def end(self, token: str) -> None:
        """End a session."""
        with self._lock:
            found = self._find(self._tokens, token)
            if found is not None:
                del self._tokens[found]

    def _add(self, secrets_until: dict[bytes, float], seconds: float, limit: int) -> str:
        self._drop_old(secrets_until)
        while len(secrets_until) >= limit:
            del secrets_until[next(iter(secrets_until))]
        secret = secrets.token_urlsafe(SECRET_BYTES)
        secrets_until[_digest(secret)] = self._now() + seconds
        return secret

    def _find(self, secrets_until: dict[bytes, float], given: str) -> bytes | None:
        """Return the hash of ``given`` if it is known; every known one is compared, whichever matches."""
        self._drop_old(secrets_until)
        digest = _digest(given)
        matches = [known for known in secrets_until if hmac.compare_digest(known, digest)]
        return matches[0] if matches else None

    def _drop_old(self, secrets_until: dict[bytes, float]) -> None:
        now = self._now()
        for known in [known for known, until in secrets_until.items() if until <= now]:
            del secrets_until[known]


@dataclass
class WrongGuesses:
    """A bucket that wrong guesses empty: a burst of ten, then one every two seconds.

    Everybody on this machine shares it, since all come from one address. It guards signing in to the page only, so
    emptying it locks out neither the commands nor an open page.
    """

    now: Clock = time.monotonic
    _left: float = WRONG_BURST
    _since: float = field(default=0.0)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def seconds_to_wait(self) -> float:
        """Return how long no guess is looked at; 0 if one may be made now."""
        with self._lock:
            self._refill()
            return 0.0 if self._left >= 1 else (1 - self._left) / WRONG_PER_SECOND

    def count(self) -> None:
        """Count a wrong guess."""
        with self._lock:
            self._refill()
            self._left -= 1

    def _refill(self) -> None:
        now = self.now()
        self._left = min(float(WRONG_BURST), self._left + (now - self._since) * WRONG_PER_SECOND)
        self._since = now


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
