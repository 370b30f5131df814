from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from input_cases import mutations, outcome, right_bodies

BODIES = right_bodies()
CASES = 150


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


# Pillow warns of what is odd in a file: the answer or the refusal says it to who sent it.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.filterwarnings("ignore::RuntimeWarning:PIL")
@pytest.mark.parametrize("name", BODIES)
def test_a_mutated_body_is_answered_or_refused_as_the_clients_mistake(name: str, pool: ThreadPoolExecutor) -> None:
    content_type, body = BODIES[name]
    assert outcome(content_type, body, pool) == "answered"
    random = np.random.default_rng(list(name.encode()))
    outcomes = Counter(outcome(content_type, mutation, pool) for mutation in mutations(body, CASES, random))
    assert set(outcomes) <= {"answered", "400", "413", "415"}
    assert outcomes["400"] > CASES / 10
