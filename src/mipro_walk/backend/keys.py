"""Bearer keys and the sealed box for task app keys.

GET  /api/v1/crypto/public-key   {"public_key": base64 of 32 bytes, "alg": "libsodium.sealedbox.v1"}
POST /api/v1/env-keys            {"name", "ciphertext_b64"} -> {"id", "name", "updated_at"}
GET  /api/v1/env-keys/verify     {"present": bool}
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter, HTTPException
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox
from pydantic import BaseModel, Field

from mipro_walk.errors import PrerequisiteError
from mipro_walk.ledger.store import Ledger, utc_now

ALGORITHM = "libsodium.sealedbox.v1"
MAX_CIPHERTEXT_CHARS = 16_384
ENVIRONMENT_KEY_NAME = "ENVIRONMENT_API_KEY"


class BearerKeys:
    """The accepted keys; only hashes are kept, compared in constant time."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._hashes = tuple(_digest(key) for key in keys)

    def accepts(self, authorization: str | None) -> bool:
        """Whether an ``Authorization`` header carries one of the keys."""
        scheme, _, key = (authorization or "").partition(" ")
        given = _digest(key)
        matches = [hmac.compare_digest(given, known) for known in self._hashes]
        return scheme.lower() == "bearer" and any(matches)


class KeyBox:
    """The backend's key pair; the private half lies in ``home``, for its owner only."""

    def __init__(self, home: Path) -> None:
        self._private = PrivateKey(_load_or_make(home / "sealed_box.key"))

    @property
    def public_key(self) -> str:
        """The public half, base64."""
        return base64.b64encode(bytes(self._private.public_key)).decode()

    def seal(self, text: str) -> str:
        """Return ``text`` so that only this backend can read it, base64."""
        return base64.b64encode(SealedBox(self._private.public_key).encrypt(text.encode())).decode()

    def open(self, ciphertext_b64: str) -> str:
        """Return the sealed text. Raises ValueError if it was not sealed for this backend."""
        try:
            return SealedBox(self._private).decrypt(base64.b64decode(ciphertext_b64, validate=True)).decode()
        except (CryptoError, binascii.Error, UnicodeDecodeError, ValueError, TypeError) as exc:
            raise ValueError("not a sealed box for this backend's public key") from exc


class EnvironmentKey(BaseModel):
    """A task app key, sealed by the client."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Z0-9_]+$")
    ciphertext_b64: str = Field(min_length=1, max_length=MAX_CIPHERTEXT_CHARS)


def create_router(box: KeyBox, ledger: Ledger) -> APIRouter:
    """Return the routes named in the module docstring."""
    router = APIRouter(prefix="/api/v1")

    @router.get("/crypto/public-key")
    def public_key() -> dict[str, str]:
        return {"public_key": box.public_key, "alg": ALGORITHM}

    @router.post("/env-keys")
    def store(body: EnvironmentKey) -> dict[str, str]:
        try:
            box.open(body.ciphertext_b64)
        except ValueError as exc:
            raise HTTPException(422, {"error": {"code": "config", "message": f"ciphertext_b64 is {exc}"}}) from exc
        ledger.store_environment_key(body.name, body.ciphertext_b64)
        return {"id": f"envkey_{body.name.lower()}", "name": body.name, "updated_at": utc_now()}

    @router.get("/env-keys/verify")
    def verify() -> dict[str, bool]:
        return {"present": ledger.environment_key(ENVIRONMENT_KEY_NAME) is not None}

    return router


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _load_or_make(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as exc:
        raise PrerequisiteError(
            f"{path} cannot be read as a key.", "Move it away; a new one is then made and keys are registered anew."
        ) from exc
    key = bytes(PrivateKey.generate())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
    return key
