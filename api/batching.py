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
from api.schemas import errors
from include.accidents.features import knowledge, matrix
from include.accidents.features.declaration import Floats
from include.accidents.features.knowledge import STATES
from include.accidents.features.levels import Level
from include.accidents.models import decision
from include.accidents.models.decision import Decided
from include.accidents.models.evaluate import Probabilities, probabilities
from include.accidents.registry.loading import LoadedModel

MAX_BATCH = 1024  # people predicted together: some 10 ms
MAX_WAITING = 2048  # requests; whoever comes later is told to come back
MAX_BULK = 32  # pieces of bulk work; each may hold some 40 MB of scenes

Result = TypeVar("Result")


_STATE = {name: i for i, name in enumerate(STATES)}


class BusyError(RuntimeError):
    """More requests wait than the service should keep."""


@dataclass(frozen=True)
class Answered:
    """What a model says of some scenes.

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
class _Asked:
    model: LoadedModel
    scenes: Sequence[errors.Given]
    people: int
    answer: asyncio.Future[Answered]


class Batcher:
    """Predicts in one thread, whatever waits at a time at once; bulk work has a thread of its own."""

    def __init__(self) -> None:
        self._waiting: list[_Asked] = []
        self._running: asyncio.Task[None] | None = None
        self._predicting = ThreadPoolExecutor(1, "predict")
        self._bulk = ThreadPoolExecutor(1, "bulk")
        self._bulk_waiting = 0

    async def predict(self, model: LoadedModel, asked: Sequence[errors.Given]) -> Answered:
        """Predict the people of some scenes, and decide on each scene.

        Raises
        ------
        BusyError
            When too many requests wait.
        """
        people = sum(len(scene["people"]) for scene in asked)
        if people > MAX_BATCH:  # its own batch, and not in the way of the small ones
            return await self.run(predict_scenes, model, asked)
        if len(self._waiting) >= MAX_WAITING:
            raise BusyError
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answered] = loop.create_future()
        self._waiting.append(_Asked(model, asked, people, answer))
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
        """Answer who waits, then end the threads."""
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
            for asked, answer in zip(batch, answers, strict=True):
                if asked.answer.done():  # its caller has gone
                    continue
                if isinstance(answer, Exception):
                    asked.answer.set_exception(answer)
                else:
                    asked.answer.set_result(answer)
        self._running = None

    def _take(self) -> list[_Asked]:
        people = taken = 0
        for asked in self._waiting:
            if taken and people + asked.people > MAX_BATCH:
                break
            people += asked.people
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        BATCH_REQUESTS.observe(taken)
        BATCH_PEOPLE.observe(people)
        return batch


def predict_scenes(model: LoadedModel, asked: Sequence[errors.Given]) -> Answered:
    """Answer one request by itself."""
    tables = scene_tables.to_tables(asked)
    return _answer(model, asked, matrix.from_columns(*tables), tables[2]["accident"])


def _answer(model: LoadedModel, asked: Sequence[errors.Given], x: Floats, accident: np.ndarray) -> Answered:
    """Let a model answer scenes by the features of their people; `accident` is the position of each one's scene."""
    proba = probabilities(model.estimator, x)
    levels = [knowledge.nearest(scene_tables.given_fields(scene)) for scene in asked]
    state = np.array(
        [
            _STATE[decision.state_of(level, people_assumed="people_assumed" in scene)]
            for level, scene in zip(levels, asked, strict=True)
        ]
    )
    return Answered(proba, decision.decide(model.decision, state, proba, accident), levels)


def _predict(batch: Sequence[_Asked]) -> list[Answered | Exception]:
    """Make the features of all at once, and let each model answer its requests together."""
    tables = scene_tables.to_tables([scene for asked in batch for scene in asked.scenes])
    x, accident = matrix.from_columns(*tables), tables[2]["accident"]
    people = _slices([asked.people for asked in batch])
    answers: dict[int, Answered | Exception] = {}
    models = {id(asked.model): asked.model for asked in batch}
    for model in models.values():
        those = [i for i, asked in enumerate(batch) if asked.model is model]
        scenes = [scene for i in those for scene in batch[i].scenes]
        try:
            if len(models) == 1:
                made = _answer(model, scenes, x, accident)
            else:
                rows = np.concatenate([np.arange(people[i].start, people[i].stop) for i in those])
                made = _answer(model, scenes, x[rows], np.unique(accident[rows], return_inverse=True)[1])
        except Exception as error:  # one model's failure is not the others'
            answers |= dict.fromkeys(those, error)
            continue
        answers |= dict(zip(those, _divided(made, [batch[i] for i in those]), strict=True))
    return [answers[i] for i in range(len(batch))]


def _divided(made: Answered, batch: Sequence[_Asked]) -> list[Answered]:
    """Return each request's part of what was answered together."""
    people, asked = _slices([a.people for a in batch]), _slices([len(a.scenes) for a in batch])
    return [
        Answered(made.proba[p], made.decided.part(s, p), made.levels[s]) for p, s in zip(people, asked, strict=True)
    ]


def _slices(sizes: Sequence[int]) -> list[slice]:
    """Return where each of some parts lies when they stand one after another."""
    last = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for end, size in zip(last, sizes, strict=True)]
