"""Texts in any script: a font that has the characters where one is installed, else words without empty boxes.

matplotlib's own DejaVu Sans has no Chinese, Japanese or Korean characters. Where a text needs more than that, the
installed fonts are looked through (those put there after matplotlib made its list, too); where none has them, the
caller's replacement (such as `class 3`) stands in and one line on stderr says what to install.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import font_manager, get_data_path
from matplotlib.ft2font import FT2Font

DEFAULT_FAMILY = "DejaVu Sans"

# Parts of file names, best first: fonts of Linux, macOS and Windows with Chinese characters.
PREFERRED = (
    "NotoSansCJK", "NotoSansSC", "SourceHanSans", "wqy-microhei", "wqy-zenhei", "PingFang", "Hiragino Sans GB",
    "STHeiti", "msyh", "simhei", "Deng", "simsun", "DroidSansFallback", "uming", "ukai", "Arial Unicode",
)  # fmt: skip


_reported: set[str] = set()


@dataclass(frozen=True)
class Lettering:
    """How the texts of one figure are written.

    Attributes:
        families: Font families; a later one steps in for characters that the first ones lack.
        missing: Characters that none of them has.
    """

    families: tuple[str, ...]
    missing: frozenset[str]

    def write(self, text: str, *, instead: str = "") -> str:
        """`text` if it can be drawn, else `instead`, or without one its escaped form; line breaks become spaces."""
        if instead and not self.missing.isdisjoint(text):
            return instead
        return "".join(self._escape(character) for character in text)

    def names(self, classes: Sequence[str], *, kind: str = "class") -> list[str]:
        """Names of classes (or of another `kind`) that can be drawn: `class 3` for one that can't."""
        return [self.write(name, instead=f"{kind} {index}") for index, name in enumerate(classes)]

    def _escape(self, character: str) -> str:
        if not character.isprintable():
            return " "
        return f"[U+{ord(character):04X}]" if character in self.missing else character


def lettering(texts: Iterable[str], *, fonts: Sequence[Path] | None = None) -> Lettering:
    """Choose fonts for some texts.

    Args:
        texts: All that a figure will show besides English.
        fonts: Font files to look through, best first; None = those of this machine.
    """
    characters = frozenset(character for text in texts for character in text if character.isprintable())
    missing = characters - _characters(Path(font_manager.findfont(DEFAULT_FAMILY)))
    if not missing:
        return Lettering((DEFAULT_FAMILY,), frozenset())
    families = [DEFAULT_FAMILY]
    for path in _installed() if fonts is None else fonts:
        found = missing & _characters(path)
        if found:
            font_manager.fontManager.addfont(path)
            families.append(FT2Font(path).family_name)
            missing -= found
        if not missing:
            break
    if missing:
        _report(missing)
    return Lettering(tuple(families), missing)


@functools.cache
def _installed() -> tuple[Path, ...]:
    """Font files of this machine, the preferred ones first; those in matplotlib's own folder are left out.

    Its list of known fonts is made once and kept, so that it lacks what was installed later: the disk is read instead.
    """
    own = Path(get_data_path())
    paths = [Path(name) for name in font_manager.findSystemFonts()]
    return tuple(sorted((path for path in paths if own not in path.parents), key=lambda path: (_place(path), path)))


def _place(path: Path) -> int:
    name = path.name.lower()
    return next((place for place, part in enumerate(PREFERRED) if part.lower() in name), len(PREFERRED))


@functools.cache
def _characters(path: Path) -> frozenset[str]:
    """All characters of a font file; none where it can't be read (old bitmap fonts and broken files)."""
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()


def _report(missing: frozenset[str]) -> None:
    """Say on stderr what is missing: once a process, since one answer helps all figures."""
    if not _reported:
        shown = "".join(sorted(missing))
        print(
            f"no installed font has the characters {shown[:12]}{'…' if len(shown) > 12 else ''}: "
            "figures show numbers instead of such names\n"
            "install one (Debian, Ubuntu: apt-get install fonts-noto-cjk), then draw again",
            file=sys.stderr,
        )
    _reported.update(missing)
