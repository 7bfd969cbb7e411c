"""Settings, read from the environment (and ``.env``) here and nowhere else, when somebody asks for them."""

from datetime import date
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from smarttext_pipelines.core.days import load_zone
from smarttext_pipelines.core.errors import SettingsError


class Settings(BaseSettings):
    """Everything a process can be told; the variable of each field is ``SMARTTEXT_`` and its name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="SMARTTEXT_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="Event database, postgresql://user:password@host:5432/name. Empty: the embedded server.",
    )
    dagster_database_url: SecretStr | None = Field(
        default=None,
        description="Dagster's own storage, a database apart from the events. Empty: the embedded server.",
    )
    reporting_timezone: str = Field(default="UTC", description="IANA zone whose calendar days are reported.")
    start_date: date = Field(default=date(2025, 1, 1), description="First partition.")
    settle_days: int = Field(
        default=4,
        ge=4,
        le=30,
        description="Days around a day in which rows of its messages are looked for; reports take up to 72 h.",
    )
    shared_senders: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="Twilio numbers that send for several businesses, separated by commas."
    )
    data_dir: Path = Field(default=Path(".smarttext"), description="Embedded server, DAGSTER_HOME and other files.")
    archive_url: str | None = Field(
        default=None,
        description="Archive of old events: a directory, s3://bucket/path or gs://bucket/path. "
        "Empty: the folder archive in SMARTTEXT_DATA_DIR.",
    )
    retention_days: int = Field(
        default=90,
        ge=11,
        description="Days after which events may leave their tables; at least 7 more than SMARTTEXT_SETTLE_DAYS.",
    )
    retention_delete: bool = Field(
        default=False,
        description="Let the schedule delete what is archived and verified; needs SMARTTEXT_ARCHIVE_URL. "
        "On the embedded server it always does.",
    )
    ui_url: str = Field(default="http://127.0.0.1:3000", description="Where people open the Dagster UI.")

    @field_validator("reporting_timezone")
    @classmethod
    def _zone_must_exist(cls, name: str) -> str:
        load_zone(name)
        return name

    @field_validator("shared_senders", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @property
    def archive_location(self) -> str:
        """Where the archive is: a URL, or an absolute path."""
        if self.archive_url and "://" in self.archive_url:
            return self.archive_url
        return str(Path(self.archive_url or self.data_dir / "archive").expanduser().resolve())

    @property
    def zone(self) -> ZoneInfo:
        """The reporting zone."""
        return load_zone(self.reporting_timezone)


def load_settings() -> Settings:
    """Read the settings; raise SettingsError with one line per process that names the variable and its fault."""
    try:
        return Settings()
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = "SMARTTEXT_" + str(fault["loc"][0]).upper() if fault["loc"] else "settings"
        msg = f"{name}: {fault['msg']}"
        raise SettingsError(msg) from None
