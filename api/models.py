"""The models that are served: loaded from the registry, verified, swapped at once."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient

from api.metrics import MODEL, RELOADS
from api.model_loader import Reader, predict_once
from api.settings import ApiSettings
from include.accidents.errors import ModelError
from include.accidents.features.version import feature_version
from include.accidents.registry import loading, promotion
from include.accidents.registry.loading import LoadedModel
from include.accidents.registry.names import BEST

log = logging.getLogger(__name__)


@dataclass
class Served:
    """A model in service, and how many requests this version has answered since it was loaded."""

    model: LoadedModel
    since: datetime
    requests: int = 0


class Models:
    """The registry's models by name; reading never waits for loading."""

    def __init__(self, settings: ApiSettings) -> None:
        self._client = MlflowClient(settings.mlflow_tracking_uri)
        self._key = settings.signing_key.get_secret_value().encode()
        self._poll_seconds = settings.registry_poll_seconds
        self._served: dict[str, Served] = {}
        self._refused: dict[str, tuple[str, str | None]] = {}
        self._loading = threading.Lock()
        self._loader = ThreadPoolExecutor(1, "load")
        self._reader = Reader()
        self._looked = threading.Event()
        self._stop = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="registry", daemon=True)

    def start(self) -> None:
        """Begin to follow the registry in the background."""
        self._reader.start()
        self._follower.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        self._follower.join(timeout=5)
        self._loader.shutdown(wait=False, cancel_futures=True)
        self._reader.stop()

    def all(self) -> Mapping[str, Served]:
        """Return what is served now."""
        return dict(self._served)

    def get(self, name: str) -> Served | None:
        """Return one model, or None when it is not loaded."""
        return self._served.get(name)

    def looked(self) -> bool:
        """Return whether every model of the registry was loaded, or refused, once."""
        return self._looked.is_set()

    def reload(self, name: str) -> tuple[str | None, str]:
        """Load the version that the registry names now.

        Returns
        -------
        The version served before (None if there was none), and the one served now.

        Raises
        ------
        ModelError
            When there is no such model, or it may not be used; what was served goes on being served.
        """
        return self._loader.submit(self._reload, name).result()

    def _reload(self, name: str) -> tuple[str | None, str]:
        with self._loading:
            version = loading.newest(self._client, name)
            if version is None:
                raise ModelError(f"The registry holds no model {name}.", "run the pipeline first.")
            return self._load(name, version)

    def roll_back(self) -> tuple[str, str]:
        """Let the alias `production` point to the version before, and serve it.

        Returns
        -------
        The version that was in production, and the one that is now.

        Raises
        ------
        ModelError
            When there is no earlier version, or it may not be used; then nothing has changed.
        """
        return self._loader.submit(self._roll_back).result()

    def _roll_back(self) -> tuple[str, str]:
        with self._loading:
            # It loads the version before it changes anything; so this version can be served.
            rolled_back = promotion.rollback(
                self._client, self._key, feature_version(), reason="asked of the API", read=self._reader.read
            )
            self._load(BEST, rolled_back.version)
            return rolled_back.left, rolled_back.version

    def _load(self, name: str, version: str) -> tuple[str | None, str]:
        before = self._served.get(name)
        previous = before.model.version if before else None
        if previous == version:
            return previous, version
        try:
            loaded = loading.load(self._client, name, version, self._key, feature_version(), self._reader.read)
            predict_once(loaded.estimator)
        except ModelError:
            RELOADS.labels(name, "refused").inc()
            raise
        self._served[name] = Served(loaded, datetime.now(UTC))  # one assignment: the swap
        # A model is many thousand objects, which every garbage collection would scan. Garbage is collected first:
        # once frozen, it would stay for ever (2 MB a reload under traffic).
        gc.collect()
        gc.freeze()
        self._refused.pop(name, None)
        RELOADS.labels(name, "loaded").inc()
        if before:
            MODEL.remove(*_info(before.model))
        MODEL.labels(*_info(loaded)).set(1)
        log.info("Serving %s version %s (before: %s).", name, version, previous)
        return previous, version

    def _follow(self) -> None:
        while True:
            try:
                self._loader.submit(self._catch_up).result()
            except Exception as error:  # the registry may be away for a while; what is loaded stays
                log.warning("The registry cannot be read (%s: %s).", type(error).__name__, error)
            if self._stop.wait(self._poll_seconds):
                return

    def _catch_up(self) -> None:
        names = loading.names(self._client)
        for name in self._served.keys() - set(names):
            self._withdraw(name)
        for name in names:
            try:
                self._follow_one(name)
            except Exception as error:  # of this model alone; it is tried again next time
                log.warning("%s cannot be loaded now (%s: %s).", name, type(error).__name__, error)
        self._looked.set()

    def _withdraw(self, name: str) -> None:
        """Stop serving a model that left the registry."""
        served = self._served.pop(name, None)
        if served is not None:
            MODEL.remove(*_info(served.model))
            log.warning("%s version %s is no longer served: it left the registry.", name, served.model.version)

    def _follow_one(self, name: str) -> None:
        with self._loading:
            version, served = loading.newest(self._client, name), self._served.get(name)
            if served and served.model.version == version:
                return
            if version is None:
                self._withdraw(name)
                return
            # A version is registered first and signed a moment later; one refused in between is tried again.
            state = version, loading.signature(self._client, name, version)
            if self._refused.get(name) == state:
                return
            try:
                self._load(name, version)
            except ModelError as error:
                self._refused[name] = state
                log.error("%s version %s is refused: %s", name, version, error)


def _info(model: LoadedModel) -> tuple[str, str, str, str]:
    return model.name, model.version, model.lineage.model, model.lineage.run_id
