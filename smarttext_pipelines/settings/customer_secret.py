"""The secret of the customers' keys: ``SMARTTEXT_CUSTOMER_KEY``, or a random one, made once and kept in a file."""

import logging
import os
import secrets
from pathlib import Path

from smarttext_pipelines.core.customer_keys import customer_key
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.settings.environment import Settings

FILE = "customer.key"
_log = logging.getLogger("smarttext_pipelines.customers")
_RANDOM_BYTES = 32


def customer_secret(settings: Settings) -> bytes:
    """Return the secret; where no setting gives one, that of the data directory, made now if it is missing.

    Raises:
        SettingsError: The file cannot be read or written, or holds no secret.
    """
    if settings.customer_key:
        return settings.customer_key.get_secret_value().encode()
    path = settings.data_dir / FILE
    try:
        made = _make(path) if not path.exists() else False
        secret = path.read_text().strip().encode()
    except (OSError, UnicodeDecodeError):
        msg = f"{FILE} in SMARTTEXT_DATA_DIR cannot be read or written; set SMARTTEXT_CUSTOMER_KEY"
        raise SettingsError(msg) from None
    if not secret:
        msg = f"{FILE} in SMARTTEXT_DATA_DIR is empty; bring it back, or set SMARTTEXT_CUSTOMER_KEY"
        raise SettingsError(msg)
    if made:
        _log.warning(
            "made a random secret for the keys of customers, %s in SMARTTEXT_DATA_DIR: keep it, or set "
            "SMARTTEXT_CUSTOMER_KEY; under another secret every customer gets another key",
            FILE,
        )
    return secret


def known_secret(settings: Settings) -> bytes | None:
    """Return the secret; None where none was ever made here, so that no number has a key."""
    if settings.customer_key is None and not (settings.data_dir / FILE).exists():
        return None
    return customer_secret(settings)


def known_key(settings: Settings, number: str) -> str | None:
    """Return the key of a number; None where no secret was ever made here, or the number is nobody's."""
    secret = known_secret(settings)
    return None if secret is None else customer_key(number, secret)


def _make(path: Path) -> bool:
    """Write a random secret, whole or not at all; return whether this process was the first to do so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_RANDOM_BYTES))
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True
