"""Settings of the API, from the environment; it does not start without its secrets."""

from __future__ import annotations

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.accidents.errors import SettingsError


class ApiSettings(BaseSettings):
    """What the API needs to know."""

    model_config = SettingsConfigDict(env_prefix="ACCIDENTS_")

    api_key: SecretStr = Field(min_length=16)
    signing_key: SecretStr = Field(min_length=16)
    mlflow_tracking_uri: str = Field(validation_alias="MLFLOW_TRACKING_URI")
    registry_poll_seconds: float = Field(15, gt=0)


def read_settings() -> ApiSettings:
    """Return the settings; SettingsError naming each variable that is missing or too short."""
    try:
        return ApiSettings()
    except ValidationError as error:
        names = []
        for defect in error.errors():
            name = str(defect["loc"][0])
            names.append(name if name.isupper() else f"ACCIDENTS_{name.upper()}")
        raise SettingsError(
            f"The API cannot start: {', '.join(names)} missing or too short (16 characters at least for a secret).",
            "set them in the environment; `make up` does it for the embedded stack.",
        ) from error
