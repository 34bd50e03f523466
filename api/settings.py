"""Settings of the API, from the environment; it does not start without its secrets."""

from __future__ import annotations

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.accidents.errors import SettingsError


class ApiSettings(BaseSettings):
    """The API's settings.

    Attributes
    ----------
    api_key
        Key that a caller must send to reload a model or to roll back.
    signing_key
        Key that registered models are signed with, the same as the pipeline's.
    allowed_hosts
        Host names that requests may use besides this machine's own; see `include.hosts`.
    max_body_bytes, max_upload_bytes
        Largest body of a JSON request, and of a CSV upload.
    """

    model_config = SettingsConfigDict(env_prefix="ACCIDENTS_", env_ignore_empty=True)

    api_key: SecretStr = Field(min_length=16)
    signing_key: SecretStr = Field(min_length=16)
    mlflow_tracking_uri: str = Field(validation_alias="MLFLOW_TRACKING_URI")
    registry_poll_seconds: float = Field(15, gt=0)
    allowed_hosts: str = ""
    max_body_bytes: int = Field(4 << 20, gt=0)
    max_upload_bytes: int = Field(256 << 20, gt=0)
    wrong_keys_per_minute: int = Field(10, gt=0)


def read_settings() -> ApiSettings:
    """Return the settings; SettingsError naming each variable that is missing or cannot be used."""
    try:
        return ApiSettings()
    except ValidationError as error:
        defects = []
        for defect in error.errors(include_input=False):
            name = str(defect["loc"][0])
            variable = name if name.isupper() else f"ACCIDENTS_{name.upper()}"
            reasons = {"missing": "is not set", "too_short": "is shorter than 16 characters"}
            defects.append(f"{variable} {reasons.get(defect['type'], '(' + defect['msg'].lower() + ')')}")
        raise SettingsError(
            f"The API cannot start: {', '.join(defects)}.",
            "set them in the environment; `make up` does it for the embedded stack. A key: "
            'export ACCIDENTS_API_KEY="$(openssl rand -hex 32)"',
        ) from error
