"""Plain aligned tables for the terminal; wide characters are counted as the two columns they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlstack.metrics import ClassScores, TargetScores
from mlstack.reports.text_width import display_width, pad, shorten

NAME_WIDTH = 40  # columns at most for a class or run name
SHARES = ("accuracy", "top5_accuracy", "precision", "recall", "f1", "exact_match", "calibration_error")

Cell = str | int | float | None


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Columns under a header, two spaces apart; numbers to the right, texts to the left, None as –.

    Args:
        header: One word or two a column.
        rows: Cells; each row as long as the header. Floats are shown with four significant digits.
    """
    right = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(len(header))]
    texts = [list(header), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(display_width(row[column]) for row in texts) for column in range(len(header))]
    lines = [
        "  ".join(pad(cell, width, right=side) for cell, width, side in zip(row, widths, right, strict=True)).rstrip()
        for row in texts
    ]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def metrics_table(metrics: Mapping[str, float | None]) -> str:
    """One metric a line, shares of 1 in percent."""
    return table(["metric", "value"], [[name.replace("_", " "), _metric(name, metrics[name])] for name in metrics])


def class_table(classes: Sequence[str], scores: Sequence[ClassScores], *, limit: int = 30, kind: str = "class") -> str:
    """Scores of each class (or `kind="label"`), worst F1 first; of more than `limit` only those, and a line says so."""
    order = sorted(range(len(scores)), key=lambda index: scores[index].f1)
    rows: list[list[Cell]] = [
        [
            shorten(classes[index], NAME_WIDTH),
            *(f"{value:.1%}" for value in (scores[index].precision, scores[index].recall, scores[index].f1)),
            scores[index].support,
        ]
        for index in order[:limit]
    ]
    text = table([kind, "precision", "recall", "F1", "pictures"], rows)
    plural = "classes" if kind == "class" else f"{kind}s"
    return text if len(order) <= limit else f"{text}\n… and {len(order) - limit:,} better {plural}"


def target_table(targets: Sequence[str], scores: Sequence[TargetScores], *, limit: int = 30) -> str:
    """Errors of each target in its own unit, in the order of the targets, and R²; – for what is not known."""
    rows: list[list[Cell]] = [
        [shorten(name, NAME_WIDTH), score.mae, score.rmse, score.r2]
        for name, score in zip(targets[:limit], scores, strict=False)
    ]
    text = table(["target", "MAE", "RMSE", "R²"], rows)
    return text if len(targets) <= limit else f"{text}\n… and {len(targets) - limit:,} more targets"


def runs_table(runs: Mapping[str, Mapping[str, float | None]]) -> str:
    """One run a line and one metric a column, for the metrics that any of the runs has."""
    names = list(dict.fromkeys(name for metrics in runs.values() for name in metrics))
    rows: list[list[Cell]] = [
        [shorten(run, NAME_WIDTH), *(_metric(name, metrics.get(name)) for name in names)]
        for run, metrics in runs.items()
    ]
    return table(["run", *(name.replace("_", " ") for name in names)], rows)


def _metric(name: str, value: float | None) -> Cell:
    is_share = name.removeprefix("train_").removeprefix("val_").removeprefix("test_") in SHARES
    return f"{value:.2%}" if is_share and value is not None else value


def _text(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    return f"{cell:,.0f}" if isinstance(cell, int) or abs(cell) >= 1000 else f"{cell:.4g}"


def _is_number(cell: Cell) -> bool:
    return not isinstance(cell, str) or cell == "" or cell.removesuffix("%").replace(".", "", 1).isdecimal()
