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
    models_file: str = "include/models.json"
    """A path, or s3://bucket/key."""
    signing_key: SecretStr = SecretStr("")

    def signing_secret(self) -> bytes:
        """Return the key that signs models; SettingsError when none is set."""
        secret = self.signing_key.get_secret_value().encode()
        if len(secret) < 16:
            raise SettingsError(
                "ACCIDENTS_SIGNING_KEY is missing or shorter than 16 characters.",
                "set the same random value for Airflow and the API (make up and make env do it).",
            )
        return secret
