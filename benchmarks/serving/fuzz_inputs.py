"""Mutated bodies against every decoder of the service: `python benchmarks/serving/fuzz_inputs.py --cases 100000`.

100,000 cases take about 5 minutes. Right bodies of each content type and picture format are changed by bits, bytes,
cuts and splices, by a seed. Each must end as an array of the right shape or as a problem of 400, 413 or 415; anything
else is printed with the case that shows it again, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import base64
import sys
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "tests" / "own_code"))

from input_cases import mutations, outcome, right_bodies

SHOWN = 5  # failures that are printed in full
SLOW_S = 2.0  # a case that takes longer is a failure too: a few hundred bytes shall not keep a core busy


def main() -> int:
    """Run the cases, print what came out of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=100_000, help="bodies in all")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="PIL")  # they speak of broken files, which is what these are
    bodies = right_bodies()
    share = -(-arguments.cases // len(bodies))
    failures = 0
    outcomes: Counter[str] = Counter()
    with ThreadPoolExecutor(1) as pool:
        for index, (name, (content_type, body)) in enumerate(bodies.items()):
            random = np.random.default_rng([arguments.seed, index])
            for mutation in mutations(body, share, random):
                started = time.perf_counter()
                try:
                    outcomes[outcome(content_type, mutation, pool)] += 1
                    wrong = "slow" if time.perf_counter() - started > SLOW_S else ""
                except Exception:  # noqa: BLE001 - whatever comes is a finding
                    wrong = traceback.format_exc()
                if wrong:
                    failures += 1
                    if failures <= SHOWN:
                        print(f"{name}: {wrong}\n{content_type} {base64.b64encode(mutation).decode()}\n")
    print(f"{share * len(bodies)} cases, {failures} failures; outcomes: {dict(sorted(outcomes.items()))}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
