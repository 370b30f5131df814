from __future__ import annotations

import pytest

from mlstack.engines.guards import lost_connection

GLOO = (
    "[/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [10.0.0.2]:2164. "
    "This is typically caused by a remote worker crashing. Check the logs of the remote worker."
)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (GLOO, "Connection closed by peer [10.0.0.2]:2164"),
        ("[unbound_buffer.cc:78] Timed out waiting 1800000ms for recv", "Timed out waiting 1800000ms for recv"),
        (
            "Read error [10.0.0.2]:2164: Connection reset by peer",
            "Read error [10.0.0.2]:2164: Connection reset by peer",
        ),
    ],
)
def test_a_process_that_is_gone_is_one_message_with_what_to_do(text: str, cause: str) -> None:
    lost = lost_connection(RuntimeError(text))
    assert lost is not None
    assert lost.message == f"another process of this run is gone: {cause}"
    assert "--rdzv-id" in lost.hint


def test_another_error_stays_what_it_is() -> None:
    assert lost_connection(RuntimeError("a shape that does not fit\nConnection closed by peer")) is None
    assert lost_connection(RuntimeError()) is None
