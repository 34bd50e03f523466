"""A TCP proxy in front of a service, which can swallow what it is sent, or pass it on slowly."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to `target`.

    `hang()`: connections that are there, and new ones, are swallowed and never answered, until `heal()`; those that
    hung then stay deaf, as after a router's restart. `rate`: bytes a second and direction, None for no limit. `renames`:
    a request's header `Host` is made the target's, for a service that answers under no other.
    """

    def __init__(self, target: int, *, renames: bool = False) -> None:
        self._target, self._renames = target, renames
        self._deaf: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._hanging = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.rate: float | None = None
        self.swallowed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def hang(self) -> None:
        self._hanging = True
        self._deaf |= self._open

    def heal(self) -> None:
        self._hanging = False

    def close(self) -> None:
        self._listener.close()
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open |= {client, server}
                if self._hanging:
                    self._deaf |= {client, server}
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        ours, its = (f"Host: 127.0.0.1:{port}\r\n".encode() for port in (self.port, self._target))
        with suppress(OSError):
            while content := source.recv(1 << 14):
                if source in self._deaf:
                    self.swallowed += 1
                    continue
                if self.rate:
                    time.sleep(len(content) / self.rate)
                sink.sendall(content.replace(ours, its) if self._renames else content)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            self._open.discard(each)
