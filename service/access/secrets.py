"""Secrets: those of keys, sign-in codes of pupils, and tokens of sessions.

Only their SHA-256 is stored. They are random and long enough that a hash made to be slow, as for
passwords, would add nothing.
"""

import secrets
from hashlib import sha256

PREFIX = "epd_"
"""Prefix of keys, by which scanners for leaked secrets find them."""
TOKEN_BYTES = 32
CODE_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""Characters of sign-in codes: none that looks like another."""
CODE_GROUPS, GROUP_LENGTH = 3, 4
"""Twelve characters have 59 bits: too many to guess over the network."""


def new_secret() -> str:
    """Return the secret of a new key."""
    return PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def new_code() -> str:
    """Return a new sign-in code, which a pupil can type, such as `k3fq-9xtm-2hvw`."""
    letters = (secrets.choice(CODE_LETTERS) for _ in range(CODE_GROUPS * GROUP_LENGTH))
    return "-".join("".join(group) for group in zip(*[letters] * GROUP_LENGTH, strict=True))


def new_token() -> str:
    """Return the token of a new session."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest(secret: str) -> str:
    """Return the stored form of a secret. A code may be typed in capitals, with blanks or none."""
    if not secret.startswith(PREFIX) and len(code := _bare(secret)) == CODE_GROUPS * GROUP_LENGTH:
        secret = code
    # What JSON escapes may be half of a surrogate pair, and thus a wrong key as any other.
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def may_be_secret(text: str) -> bool:
    """Return whether a text looks like a key or a sign-in code, whether or not it is one."""
    bare = _bare(text)
    is_code = len(bare) == CODE_GROUPS * GROUP_LENGTH and set(bare) <= set(CODE_LETTERS)
    return text.lower().startswith(PREFIX) or is_code


def _bare(code: str) -> str:
    return code.lower().replace("-", "").replace(" ", "")
