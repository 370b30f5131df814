"""Exit status 0 when a package index answers within 3 seconds and holds this very build of a package for this machine:

    python scripts/has_wheel.py https://download.pytorch.org/whl/cpu torch 2.14.1+cpu

scripts/setup_environment.sh asks before it chooses where torch and Paddle come from. Needs only Python.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import urllib.request

SECONDS = 3.0


def main() -> None:
    index, package, version = sys.argv[1:]
    # A socket's own time-out covers neither a name look-up that hangs nor a server that sends a byte now and then.
    watchdog = threading.Timer(SECONDS, os._exit, (1,))
    watchdog.daemon = True
    watchdog.start()
    try:
        with urllib.request.urlopen(f"{index.rstrip('/')}/{package}/") as page:
            lines = page.read().decode().splitlines()
    except (OSError, ValueError):
        sys.exit(1)
    build = f"{package.replace('-', '_')}-{version.replace('+', '%2B')}"
    wheel = f"{build}-cp{sys.version_info.major}{sys.version_info.minor}-"
    sys.exit(not any(wheel in line and platform.machine() in line for line in lines))


if __name__ == "__main__":
    main()
