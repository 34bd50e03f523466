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

from api import scenes
from api.observe import BATCH_PEOPLE, BATCH_REQUESTS
from include.accidents import features
from include.accidents.evaluate import Probabilities, probabilities
from include.accidents.registry import LoadedModel

MAX_BATCH = 1024  # people predicted together: some 10 ms
MAX_WAITING = 2048  # requests; whoever comes later is told to come back
MAX_BULK = 32  # pieces of bulk work; each may hold some 40 MB of scenes

Result = TypeVar("Result")


class BusyError(RuntimeError):
    """More requests wait than the service should keep."""


@dataclass(frozen=True)
class _Asked:
    model: LoadedModel
    scenes: Sequence[scenes.Said]
    people: int
    answer: asyncio.Future[Probabilities]


class Batcher:
    """Predicts in one thread, whatever waits at a time at once; bulk work has a thread of its own."""

    def __init__(self) -> None:
        self._waiting: list[_Asked] = []
        self._running: asyncio.Task[None] | None = None
        self._predicting = ThreadPoolExecutor(1, "predict")
        self._bulk = ThreadPoolExecutor(1, "bulk")
        self._bulk_waiting = 0

    async def predict(self, model: LoadedModel, said: Sequence[scenes.Said]) -> Probabilities:
        """Predict the people of some scenes, in their order, shape (people, 4).

        Raises
        ------
        BusyError
            When too many requests wait.
        """
        people = sum(len(scene["people"]) for scene in said)
        if people > MAX_BATCH:  # its own batch, and not in the way of the small ones
            return await self.run(predict_scenes, model, said)
        if len(self._waiting) >= MAX_WAITING:
            raise BusyError
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Probabilities] = loop.create_future()
        self._waiting.append(_Asked(model, said, people, answer))
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


def predict_scenes(model: LoadedModel, said: Sequence[scenes.Said]) -> Probabilities:
    """Predict one request's people by themselves."""
    return probabilities(model.estimator, features.from_columns(*scenes.to_tables(said)))


def _predict(batch: Sequence[_Asked]) -> list[Probabilities | Exception]:
    """Make the features of all at once, and let each model predict its requests together."""
    x = features.from_columns(*scenes.to_tables([scene for asked in batch for scene in asked.scenes]))
    last = np.cumsum([asked.people for asked in batch])
    rows = [slice(end - asked.people, end) for asked, end in zip(batch, last, strict=True)]
    answers: list[Probabilities | Exception | None] = [None] * len(batch)
    models = {id(asked.model): asked.model for asked in batch}
    for model in models.values():
        those = [i for i, asked in enumerate(batch) if asked.model is model]
        matrix = x if len(models) == 1 else np.concatenate([x[rows[i]] for i in those])
        try:
            made = probabilities(model.estimator, matrix)
        except Exception as error:  # one model's failure is not the others'
            for i in those:
                answers[i] = error
            continue
        start = 0
        for i in those:
            answers[i] = made[start : start + batch[i].people]
            start += batch[i].people
    return [answer for answer in answers if answer is not None]
