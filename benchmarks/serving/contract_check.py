"""schemathesis against a running service: does it keep to its own description, whatever is sent?

    python benchmarks/serving/contract_check.py http://127.0.0.1:8000 [--key KEY] [--examples 100]

schemathesis gets an environment of its own at first use (requirements-oracles.txt). Status 1 = a check failed.
Every check is on. Three things are allowed that schemathesis by itself would call a failure: 503, which tells a client
that its own deadline (the header x-deadline-ms) has passed; 400, 413 or 415 for a body of the right shape whose content
is no picture, or not as many values as its shape says, which no schema can express; and 413 for a wrong body that is
refused by its size before it is looked into.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests" / "own_code"))

from oracles import prepare

CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 413, 415, 429, 503]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 401, 403, 404, 413, 415, 503]
"""


def main() -> int:
    """Run it; its own exit status."""
    parser = argparse.ArgumentParser(description="Check a service against its description.")
    parser.add_argument("url")
    parser.add_argument("--key", help="an administrator's API key")
    parser.add_argument("--examples", type=int, default=100, help="requests of a kind for each address")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    program = prepare("schemathesis")[0] / "bin" / "schemathesis"
    header = ["-H", f"Authorization: Bearer {given.key}"] if given.key else []
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "schemathesis.toml"
        config.write_text(CONFIG)
        command = [
            str(program), "--config-file", str(config), "run", f"{given.url.rstrip('/')}/openapi.json",
            "--checks", "all", "--max-examples", str(given.examples), "--seed", str(given.seed),
            "--suppress-health-check", "all", "--continue-on-failure", "--request-timeout", "20", *header,
        ]  # fmt: skip
        return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
