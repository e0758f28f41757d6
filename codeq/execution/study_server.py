"""Serve Optuna's dashboard on a free port of 127.0.0.1 until standard input is closed, as it is when the driver ends.

A script: it reads the study's URL from the first line of standard input and prints the port.
"""

from __future__ import annotations

import os
import sys
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna_dashboard import wsgi


class Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread."""

    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    """Prints no line per request."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def main() -> None:
    """See the module."""
    application = wsgi(sys.stdin.readline().removesuffix("\n"))
    with make_server("127.0.0.1", 0, application, server_class=Server, handler_class=QuietHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        sys.stderr = open(os.devnull, "w")  # nobody reads it from here on
        sys.stdin.read()  # returns when the driver has ended, however it has


if __name__ == "__main__":
    main()
