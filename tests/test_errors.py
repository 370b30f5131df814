from __future__ import annotations

import pytest

from mlstack.errors import ConfigError, MissingPackageError, MLStackError


def hint(lines: int) -> str:
    return "\n".join(f"hint {number}" for number in range(lines))


def test_a_message_comes_first_then_what_is_allowed_then_what_to_do() -> None:
    error = ConfigError("seed=x is wrong", key="seed", allowed=(1, 2.5, "auto"), hint="type seed=1\nor seed=2")
    assert str(error) == "seed=x is wrong\nallowed: 1, 2.5, auto\ntype seed=1\nor seed=2"
    assert (error.message, error.key, error.allowed) == ("seed=x is wrong", "seed", (1, 2.5, "auto"))
    assert str(MLStackError("alone")) == "alone"


@pytest.mark.parametrize("allowed", [(), ("a",)])
def test_eight_lines_are_shown_whole_and_of_more_the_first_seven(allowed: tuple[str, ...]) -> None:
    given = 1 + len(allowed)
    assert str(MLStackError("m", allowed=allowed, hint=hint(8 - given))).splitlines()[-1] == f"hint {7 - given}"
    for more in (1, 5):
        lines = str(MLStackError("m", allowed=allowed, hint=hint(8 - given + more))).splitlines()
        assert len(lines) == 8
        assert lines[6:] == [f"hint {6 - given}", f"… and {more + 1} more lines"]


def test_a_missing_package_is_named_without_its_pin_and_installed_with_it() -> None:
    error = MissingPackageError("timm==1.0.31", needed_for="model.name=timm/x")
    assert str(error).splitlines() == [
        "model.name=timm/x needs the package timm, which is not installed",
        "install it with: pip install 'timm==1.0.31'",
    ]
