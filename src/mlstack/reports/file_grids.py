"""The grid of new pictures, of whatever task."""

from __future__ import annotations

from mlstack.reports.label_pictures import draw_file_labels
from mlstack.reports.pictures import draw_file_predictions
from mlstack.reports.value_pictures import draw_file_values

# By `data.task`; each takes pictures, outputs, captions, names of the outputs, and the PNG to write.
FILE_GRIDS = {
    "classification": draw_file_predictions,
    "multilabel": draw_file_labels,
    "regression": draw_file_values,
}
