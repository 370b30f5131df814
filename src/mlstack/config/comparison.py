"""The schema of scripts/compare_performance.py: stage 1 and stage 2 side by side."""

from __future__ import annotations

from dataclasses import dataclass

from mlstack.config.keys import key


@dataclass
class ComparePerformanceConfig:
    """Put the reports of the two validation stages side by side."""

    venv: str = key("outputs/validate/venv.json", "Report of stage 1", path=True)
    docker: str = key("outputs/validate/docker.json", "Report of stage 2", path=True)
    output: str = key("outputs/validate/comparison.png", "Figure (.png)", path=True)
    json: str | None = key(None, "The same as a file for programs (.json); null = none", path=True)
    tolerance: float = key(1e-4, "Greatest difference between two probabilities of a picture", minimum=0, maximum=1)
    any_commit: bool = key(False, "Compare reports of different commits all the same")
