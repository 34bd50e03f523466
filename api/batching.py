"""Requests that wait at the same moment are predicted together.

Predicting a hundred rows costs hardly more than predicting one. While a thread predicts a batch, the event loop
collects the next one; nobody waits for a batch to fill up.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from api import scene_tables
from api.metrics import BATCH_PEOPLE, BATCH_REQUESTS
from api.schemas.scenes import ScenePayload
from include.accidents.features import knowledge, matrix
from include.accidents.features.declaration import Floats
from include.accidents.features.knowledge import STATES
from include.accidents.features.levels import Level
from include.accidents.models import decision
from include.accidents.models.decision import Decided
from include.accidents.models.evaluate import Probabilities, probabilities
from include.accidents.registry.loading import LoadedModel

MAX_BATCH = 1024  # people predicted together: some 10 ms
MAX_WAITING = 2048  # requests; one more is answered with status 503
MAX_BULK = 32  # pieces of bulk work; each may hold some 40 MB of scenes

Result = TypeVar("Result")


_STATE = {name: i for i, name in enumerate(STATES)}


class BusyError(RuntimeError):
    """Too many requests wait."""


@dataclass(frozen=True)
class Answered:
    """A model's predictions for some scenes.

    Attributes
    ----------
    proba
        Of all people of the scenes, in their order, shape (people, 4).
    decided
        Of each scene.
    levels
        The level of knowledge that each scene is nearest to.
    """

    proba: Probabilities
    decided: Decided
    levels: Sequence[Level]


@dataclass(frozen=True)
class _Request:
    model: LoadedModel
    scenes: Sequence[ScenePayload]
    people: int
    answer: asyncio.Future[Answered]


class Batcher:
    """Predicts all waiting requests together, in one thread; bulk work has a thread of its own."""

    def __init__(self) -> None:
        self._waiting: list[_Request] = []
        self._running: asyncio.Task[None] | None = None
        self._predicting = ThreadPoolExecutor(1, "predict")
        self._bulk = ThreadPoolExecutor(1, "bulk")
        self._bulk_waiting = 0

    async def predict(self, model: LoadedModel, scenes: Sequence[ScenePayload]) -> Answered:
        """Predict the people of some scenes, and decide on each scene.

        Returns
        -------
        The predictions of these scenes alone, in their order.

        Raises
        ------
        BusyError
            When too many requests wait.
        """
        people = sum(len(scene["people"]) for scene in scenes)
        if people > MAX_BATCH:  # a batch of its own, which does not delay the small ones
            return await self.run(predict_scenes, model, scenes)
        if len(self._waiting) >= MAX_WAITING:
            raise BusyError
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answered] = loop.create_future()
        self._waiting.append(_Request(model, scenes, people, answer))
        if self._running is None:
            self._running = loop.create_task(self._work(loop))
        return await answer

    async def run(self, work: Callable[..., Result], *args: Any) -> Result:
        """Do bulk work, one piece at a time, in a thread; BusyError when too much of it waits."""
        if self._bulk_waiting >= MAX_BULK:
            raise BusyError
        self._bulk_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._bulk, functools.partial(work, *args))
        finally:
            self._bulk_waiting -= 1

    async def stop(self) -> None:
        """Answer the waiting requests, then end the threads."""
        while self._running is not None:
            await self._running
        self._predicting.shutdown(wait=False)
        self._bulk.shutdown(wait=False, cancel_futures=True)

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            batch = self._take()
            try:
                answers = await loop.run_in_executor(self._predicting, _predict, batch)
            except Exception as error:
                answers = [error] * len(batch)
            for request, answer in zip(batch, answers, strict=True):
                if request.answer.done():  # the caller has disconnected
                    continue
                if isinstance(answer, Exception):
                    request.answer.set_exception(answer)
                else:
                    request.answer.set_result(answer)
        self._running = None

    def _take(self) -> list[_Request]:
        people = taken = 0
        for request in self._waiting:
            if taken and people + request.people > MAX_BATCH:
                break
            people += request.people
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        BATCH_REQUESTS.observe(taken)
        BATCH_PEOPLE.observe(people)
        return batch


def predict_scenes(model: LoadedModel, scenes: Sequence[ScenePayload]) -> Answered:
    """Answer one request by itself."""
    tables = scene_tables.to_tables(scenes)
    return _answer(model, scenes, matrix.from_columns(*tables), tables[2]["accident"])


def _answer(model: LoadedModel, scenes: Sequence[ScenePayload], x: Floats, accident: np.ndarray) -> Answered:
    """Predict scenes from the features of their people; `accident` is the position of each person's scene."""
    proba = probabilities(model.estimator, x)
    levels = [knowledge.nearest(scene_tables.given_fields(scene)) for scene in scenes]
    state = np.array(
        [
            _STATE[decision.state_of(level, people_assumed="people_assumed" in scene)]
            for level, scene in zip(levels, scenes, strict=True)
        ]
    )
    return Answered(proba, decision.decide(model.decision, state, proba, accident), levels)


def _predict(batch: Sequence[_Request]) -> list[Answered | Exception]:
    """Make the features of all requests at once, then let each model answer its requests together."""
    tables = scene_tables.to_tables([scene for request in batch for scene in request.scenes])
    x, accident = matrix.from_columns(*tables), tables[2]["accident"]
    people = _slices([request.people for request in batch])
    answers: dict[int, Answered | Exception] = {}
    models = {id(request.model): request.model for request in batch}
    for model in models.values():
        those = [i for i, request in enumerate(batch) if request.model is model]
        scenes = [scene for i in those for scene in batch[i].scenes]
        try:
            if len(models) == 1:
                answered = _answer(model, scenes, x, accident)
            else:
                rows = np.concatenate([np.arange(people[i].start, people[i].stop) for i in those])
                answered = _answer(model, scenes, x[rows], np.unique(accident[rows], return_inverse=True)[1])
        except Exception as error:  # one model's failure must not fail the others
            answers |= dict.fromkeys(those, error)
            continue
        answers |= dict(zip(those, _divided(answered, [batch[i] for i in those]), strict=True))
    return [answers[i] for i in range(len(batch))]


def _divided(answered: Answered, batch: Sequence[_Request]) -> list[Answered]:
    """Return each request's part of a common answer."""
    people, scenes = _slices([r.people for r in batch]), _slices([len(r.scenes) for r in batch])
    return [
        Answered(answered.proba[p], answered.decided.part(s, p), answered.levels[s])
        for p, s in zip(people, scenes, strict=True)
    ]


def _slices(sizes: Sequence[int]) -> list[slice]:
    """Return the slice of each part, for parts of these sizes one after another."""
    last = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for end, size in zip(last, sizes, strict=True)]
