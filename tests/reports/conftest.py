from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.text import Text


class Drawn:
    """The figure that was written last: files hold only pixels, and tests want its words."""

    def __init__(self) -> None:
        self.figure = Figure()

    @property
    def words(self) -> list[str]:
        texts = (text for text in self.figure.findobj(Text) if isinstance(text, Text) and text.get_visible())
        return [text.get_text() for text in texts if text.get_text()]

    def families(self) -> set[tuple[str, ...]]:
        return {tuple(text.get_fontfamily()) for text in self.figure.findobj(Text) if isinstance(text, Text)}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    record = Drawn()
    write = Figure.savefig

    def savefig(self: Figure, *args: object, **kwargs: object) -> None:
        record.figure = self
        write(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return record


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """The same without a file: what stands where is known before a figure is rendered, which takes most of the time."""
    record = Drawn()

    def savefig(self: Figure, path: Path, **_: object) -> None:
        record.figure = self
        path.touch()

    monkeypatch.setattr(Figure, "savefig", savefig)
    return record


@pytest.fixture
def make_font(tmp_path: Path) -> Callable[[str, str], Path]:
    """Make a real font file with a filled square for each character."""

    def make(family: str, characters: str) -> Path:
        pen = TTGlyphPen(None)
        pen.moveTo((100, 0))
        for point in ((100, 800), (900, 800), (900, 0)):
            pen.lineTo(point)
        pen.closePath()
        names = [".notdef", *(f"uni{ord(character):04X}" for character in characters)]
        builder = FontBuilder(1000, isTTF=True)
        builder.setupGlyphOrder(names)
        builder.setupCharacterMap({ord(name): glyph for name, glyph in zip(characters, names[1:], strict=True)})
        builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
        builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
        builder.setupHorizontalHeader(ascent=900, descent=-100)
        builder.setupNameTable({"familyName": family, "styleName": "Regular"})
        builder.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
        builder.setupPost()
        path = tmp_path / f"{family}.ttf"
        builder.save(path)
        return path

    return make
