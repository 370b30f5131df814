from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlstack.errors import OutputError
from mlstack.reports.guarded import draw_each, guarded


def drawing(error: BaseException | None) -> Path:
    if error is not None:
        raise error
    return Path("drawn.png")


def test_a_figure_that_raises_costs_a_line_and_the_others_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    errors = {"first": KeyError("l4"), "second": None, "third": OutputError("disk full", hint="make room")}
    written = draw_each((name, lambda error=error: drawing(error)) for name, error in errors.items())
    assert written == [Path("drawn.png")]
    assert capsys.readouterr().out.splitlines() == [
        "warning: figure first could not be drawn: KeyError: 'l4'",
        "warning: figure third could not be drawn: disk full",
    ]


def test_figures_that_can_not_be_prepared_cost_a_line_and_what_is_drawn_stays(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def prepared() -> Iterator[tuple[str, Callable[[], Path]]]:
        yield "first", lambda: Path("first.png")
        raise ValueError("labels outside of the classes")

    assert draw_each(prepared()) == [Path("first.png")]
    assert capsys.readouterr().out == (
        "warning: figures could not be prepared: ValueError: labels outside of the classes\n"
    )


def test_an_error_without_words_is_named_by_its_class(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded("it could not be sent"):
        raise MemoryError
    assert capsys.readouterr().out == "warning: it could not be sent: MemoryError\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_and_signals_pass(error: type[BaseException]) -> None:
    with pytest.raises(error), guarded("it could not be sent"):
        raise error
