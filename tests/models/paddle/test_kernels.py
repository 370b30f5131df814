from __future__ import annotations

from pathlib import Path

import pytest

from mlstack.models.paddle.kernels import AVX2, AVX512, kernels

ALL_512 = "avx2 fma avx512f avx512dq avx512bw avx512vl avx512cd"


@pytest.mark.framework  # its package imports Paddle
@pytest.mark.parametrize(
    ("vendor", "flags", "chosen"),
    [
        ("AuthenticAMD", ALL_512, AVX512),
        ("AuthenticAMD", "avx2 fma", AVX2),
        ("AuthenticAMD", "avx2 fma avx512f", AVX2),
        ("AuthenticAMD", "sse4_2", None),
        ("GenuineIntel", ALL_512, None),
        ("", "", None),
    ],
)
def test_kernels_are_named_for_processors_that_the_library_does_not_know(
    vendor: str, flags: str, chosen: str | None, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {vendor}\nflags\t\t: {flags}\n" if vendor else "")
    assert kernels(tmp_path) == chosen
