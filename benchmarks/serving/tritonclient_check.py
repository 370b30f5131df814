"""Triton's own HTTP client against a running service: every call that our /v2 answers, in JSON and in binary.

    python benchmarks/serving/tritonclient_check.py http://127.0.0.1:8000

The client gets an environment of its own at first use (requirements-oracles.txt). The checks are in
`peers/tritonclient_calls.py`; each prints a line. Status 1 = one failed. The service's default model is asked.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests" / "own_code"))

from oracles import prepare

CALLS = Path(__file__).parent / "peers" / "tritonclient_calls.py"


def main() -> int:
    """Run the checks; their exit status."""
    parser = argparse.ArgumentParser(description="Check a service with Triton's own client.")
    parser.add_argument("url")
    url = parser.parse_args().url
    [home] = prepare("tritonclient")
    return subprocess.run([home / "bin" / "python", CALLS, url], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
