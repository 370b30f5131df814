from __future__ import annotations

import pytest

from mlstack.engines.position import Position
from mlstack.errors import RunError


def test_processes_that_go_on_from_the_same_place_may_go_on() -> None:
    Position(epoch=1, batches=16).check_shared([(1, 16), (1, 16)])
    Position().check_shared([(0, 0)])


def test_a_machine_that_sees_another_checkpoint_is_named_before_anything_is_trained() -> None:
    with pytest.raises(RunError, match=r"\(epoch, batch\) \(1, 16\) here, rank 1 at \(1, 11\)") as caught:
        Position(epoch=1, batches=16).check_shared([(1, 16), (1, 11)])
    assert "one folder that all machines share" in str(caught.value)
