"""Checks that the stack's ports are free."""

from __future__ import annotations

import socket
import sys

from include.accidents.errors import SettingsError
from ops.local.settings import HOST, PORTS, Settings, variable


def check_free(settings: Settings) -> None:
    """Check that no program listens on the stack's ports.

    Raises
    ------
    SettingsError
        If one does; it names the port, the service and the setting to change.
    """
    for service in PORTS:
        port = settings.ports[service]
        if not is_free(port):
            owner = " (on macOS often by the AirPlay Receiver)" if (sys.platform, port) == ("darwin", 5000) else ""
            raise SettingsError(
                f"Port {port}, which {service} needs, is used by another program{owner}.",
                f"stop that program, or choose another port: `{variable(service)}={port + 10} make up`.",
            )


def is_free(port: int) -> bool:
    """Return whether no program listens on a port of this machine.

    Returns
    -------
    False if something answers there, or the port cannot be bound. Binding alone is no proof: on macOS a listener on
    all addresses allows another one on a single address.
    """
    with socket.socket() as client:
        client.settimeout(1)
        if client.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((HOST, port))
        except OSError:
            return False
    return True
