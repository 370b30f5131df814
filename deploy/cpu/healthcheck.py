"""Exit status 0 when the service of this container answers GET /health with 200; the image's HEALTHCHECK runs it.

The port is read from the command line of process 1, so that `serve.port=…` needs no second setting. Sockets alone:
`http.client` would cost three times the processor time, every ten seconds.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

SECONDS = 3.0


def main() -> int:
    words = Path("/proc/1/cmdline").read_bytes().split(b"\0")
    ports = [int(word.partition(b"=")[2]) for word in words if word.startswith(b"serve.port=")]
    try:
        with socket.create_connection(("127.0.0.1", ports[-1] if ports else 8000), timeout=SECONDS) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            answer = connection.recv(64)
    except OSError as error:
        print(error)
        return 1
    return 0 if answer.startswith(b"HTTP/1.1 200 ") else 1


if __name__ == "__main__":
    sys.exit(main())
