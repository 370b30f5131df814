from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_document_of_all_keys_has_a_table_for_each_script_that_takes_some() -> None:
    """What it says of them, tests/documents/test_configuration.py compares with the schema."""
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    scripts = [path for path in (ROOT / "scripts").glob("*.py") if "config_name=" in path.read_text(encoding="utf-8")]
    assert len(scripts) > 10
    assert [path.name for path in scripts if f"`scripts/{path.name}`\n" not in written] == []
