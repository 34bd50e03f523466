"""Limits uploads: one is read and predicted at a time, and few are in progress at all.

A file takes some 2 kB of memory a person while it is predicted. Its answer then waits on the disk for its caller. So
neither many callers nor slow ones fill the memory.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import BinaryIO, Final

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from api.batching import BusyError

MAX_INSIDE: Final = 8  # uploads that are received, predicted or sent; each may take half a gigabyte of disk
RECEIVING_SECONDS: Final = 600  # for the whole of an upload
SENDING_SECONDS: Final = 60  # for a part of an answer
PART: Final = 256 << 10  # bytes


class UploadLimiter:
    """Counts uploads in progress; the lock `turn` lets one at a time be predicted."""

    def __init__(self) -> None:
        self._inside = 0
        self.turn = asyncio.Lock()

    def enter(self) -> None:
        """Count an upload that begins; BusyError when too many are in progress. Call `leave` when it ends."""
        if self._inside >= MAX_INSIDE:
            raise BusyError
        self._inside += 1

    def leave(self) -> None:
        """Count an upload as ended."""
        self._inside -= 1


class FileAnswer(StreamingResponse):
    """Sends a file, closes it, and calls `done`; stops when the caller reads nothing for too long."""

    def __init__(
        self, file: BinaryIO, done: Callable[[], None], headers: Mapping[str, str], *, media_type: str
    ) -> None:
        self._file, self._done = file, done
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        super().__init__(self._parts(), media_type=media_type, headers={**headers, "Content-Length": str(size)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""

        async def in_time(message: Message) -> None:
            async with asyncio.timeout(SENDING_SECONDS):
                await send(message)

        try:
            await super().__call__(scope, receive, in_time)
        except (TimeoutError, ClientDisconnect):
            pass  # the server closes the connection of an answer that is not complete
        finally:
            self._file.close()
            self._done()

    async def _parts(self) -> AsyncIterator[bytes]:
        while part := await asyncio.to_thread(self._file.read, PART):
            yield part
