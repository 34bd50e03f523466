"""Settings of the pipeline's tasks, from the environment (prefix ``ACCIDENTS_``)."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.accidents.errors import SettingsError


class Settings(BaseSettings):
    """What differs between installations."""

    model_config = SettingsConfigDict(env_prefix="ACCIDENTS_")

    raw_dir: Path = Path("data/raw")
    models_file: Path = Path("include/models.json")
    signing_key: SecretStr = SecretStr("")
    # Where a person's browser reaches the services, when that differs from where the tasks do.
    public_mlflow_url: str = ""
    public_api_url: str = ""
    public_s3_url: str = ""

    def signing_secret(self) -> bytes:
        """Return the key that signs models; SettingsError when none is set."""
        secret = self.signing_key.get_secret_value().encode()
        if len(secret) < 16:
            raise SettingsError(
                "ACCIDENTS_SIGNING_KEY is missing or shorter than 16 characters.",
                "set the same random value for Airflow and the API (make up and make env do it).",
            )
        return secret
