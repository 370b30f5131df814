from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "document_configuration.py"


def test_the_configuration_document_is_what_the_schema_says() -> None:
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == runpy.run_path(str(SCRIPT))["document"](), f"run python scripts/{SCRIPT.name}"
