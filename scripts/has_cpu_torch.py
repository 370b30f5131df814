"""Exit status 0 when a package index answers within 3 seconds and holds the CPU build of this torch for this machine:

    python scripts/has_cpu_torch.py https://download.pytorch.org/whl/cpu 2.14.1

scripts/setup_environment.sh asks before it chooses where torch comes from. Needs only Python.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import urllib.request

SECONDS = 3.0


def main() -> None:
    index, version = sys.argv[1:]
    # A socket's own time-out covers neither a name look-up that hangs nor a server that sends a byte now and then.
    watchdog = threading.Timer(SECONDS, os._exit, (1,))
    watchdog.daemon = True
    watchdog.start()
    try:
        with urllib.request.urlopen(f"{index.rstrip('/')}/torch/") as page:
            lines = page.read().decode().splitlines()
    except (OSError, ValueError):
        sys.exit(1)
    wheel = f"torch-{version}%2Bcpu-cp{sys.version_info.major}{sys.version_info.minor}-"
    sys.exit(not any(wheel in line and platform.machine() in line for line in lines))


if __name__ == "__main__":
    main()
