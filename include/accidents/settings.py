"""Settings of the pipeline's tasks and commands, from the environment (prefix ``ACCIDENTS_``)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.accidents.errors import SettingsError


class Settings(BaseSettings):
    """What differs between installations."""

    model_config = SettingsConfigDict(env_prefix="ACCIDENTS_")

    raw_dir: Path = Path("data/raw")
    models_file: str = "include/models.json"
    """A path, or s3://bucket/key."""
    catalogue_url: str = ""
    """Where the official files are listed, if elsewhere than `data.download` says."""
    mlflow_tracking_uri: str = Field("", validation_alias="MLFLOW_TRACKING_URI")
    """For commands; a task has a connection."""
    signing_key: SecretStr = SecretStr("")
    # Where a person's browser reaches the services, when that differs from where the tasks do.
    public_mlflow_url: str = ""
    public_api_url: str = ""
    public_s3_url: str = ""
    allowed_hosts: str = ""
    """Names under which the services may be asked beside this machine's own; see `include.accidents.hosts`."""

    def signing_secret(self) -> bytes:
        """Return the key that signs models; SettingsError when none is set."""
        secret = self.signing_key.get_secret_value().encode()
        if len(secret) < 16:
            raise SettingsError(
                "ACCIDENTS_SIGNING_KEY is missing or shorter than 16 characters.",
                "set the same random value for Airflow and the API (make up and make env do it).",
            )
        return secret


class Thresholds(BaseSettings):
    """Shares of a file's rows above which a check warns, or refuses the year.

    Repaired: cells that were set to missing in one column because they cannot be true (columns that no feature is
    made from only warn), or people whose vehicle is not in the files. Dropped: rows that belong to nothing or stand
    there twice; the further places of an accident are none of them.
    """

    model_config = SettingsConfigDict(env_prefix="ACCIDENTS_CHECK_")

    repaired_warning: float = Field(default=0.01, ge=0, le=1)
    repaired_failure: float = Field(default=0.25, ge=0, le=1)
    dropped_warning: float = Field(default=0.001, ge=0, le=1)
    dropped_failure: float = Field(default=0.05, ge=0, le=1)
