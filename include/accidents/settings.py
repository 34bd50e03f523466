"""Settings of the pipeline's tasks and commands, from the environment (prefix ``ACCIDENTS_``)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.accidents.errors import SettingsError


class Settings(BaseSettings):
    """The settings that differ between installations."""

    model_config = SettingsConfigDict(env_prefix="ACCIDENTS_")

    raw_dir: Path = Path("data/raw")
    models_file: str = "include/models.json"
    """A path, or s3://bucket/key."""
    catalogue_url: str = ""
    """The address of the list of the official files; empty: that of `data.download`."""
    cache_dir: Path = Path(tempfile.gettempdir()) / f"accidents-{os.getuid()}"
    """Where the tasks of this machine share datasets; can be deleted at any time."""
    mlflow_tracking_uri: str = Field("", validation_alias="MLFLOW_TRACKING_URI")
    """For commands; a task uses a connection."""
    signing_key: SecretStr = SecretStr("")
    # The services' addresses for a browser, where they differ from those for the tasks.
    public_mlflow_url: str = ""
    public_api_url: str = ""
    public_s3_url: str = ""
    allowed_hosts: str = ""
    """Names under which the services answer, beside this machine's own; see `include.hosts`."""

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

    Repaired: impossible cells of one column that were set to missing, or people whose vehicle is not in the files. A
    column that no feature uses only warns. Dropped: duplicate rows and rows that belong to nothing; the further places
    of an accident do not count. Incomplete: accidents without a place, a vehicle or people, as in a cut file.
    """

    model_config = SettingsConfigDict(env_prefix="ACCIDENTS_CHECK_")

    repaired_warning: float = Field(default=0.01, ge=0, le=1)
    repaired_failure: float = Field(default=0.25, ge=0, le=1)
    dropped_warning: float = Field(default=0.001, ge=0, le=1)
    dropped_failure: float = Field(default=0.05, ge=0, le=1)
    incomplete_warning: float = Field(default=0.001, ge=0, le=1)
    incomplete_failure: float = Field(default=0.05, ge=0, le=1)
