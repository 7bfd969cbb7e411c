"""The secret that customers are told apart by: a setting, or a file that is made once."""

import logging
import os
import secrets
from pathlib import Path

from smarttext_pipelines.core.customer_key import CustomerKey
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.settings import Settings

FILE = "customer.key"
_log = logging.getLogger(__name__)


def customer_key(settings: Settings) -> CustomerKey:
    """Return the key of the setting, else that of the file in the data directory, which is made where it is missing.

    Raises:
        SettingsError: The file can be neither read nor made.
    """
    if settings.customer_key is not None:
        return CustomerKey.of_secret(settings.customer_key.get_secret_value())
    path = settings.data_dir / FILE
    try:
        if not path.exists():
            _make(path)
        return CustomerKey.of_secret(path.read_text().strip())
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        msg = f"{path} cannot be used: {reason}; set SMARTTEXT_CUSTOMER_KEY"
        raise SettingsError(msg) from None


def _make(path: Path) -> None:
    """Write a random secret, whole or not at all; of two processes the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{FILE}.{os.getpid()}-{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    _log.warning(
        "made %s, the secret that customers are told apart by: keep it, or set SMARTTEXT_CUSTOMER_KEY; with another "
        "secret every customer is a new one",
        path,
    )
