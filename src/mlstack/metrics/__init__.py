"""How good predictions are: NumPy only, so that engines, evaluation and figures all count alike.

scores          all figures of a task, by name: what results.json, tables and checkpoints use
classification  one class a picture      confusion, ranking, calibration: what it is made of
multilabel      several labels a picture
regression      numbers
"""

from mlstack.metrics.calibration import CalibrationBins, calibration_bins
from mlstack.metrics.classification import bins_of_classes, classification_metrics
from mlstack.metrics.confusion import BinaryScores, ClassScores, binary_scores, confusion_matrix, per_class_metrics
from mlstack.metrics.multilabel import decided, multilabel_metrics, per_label_metrics, picture_losses
from mlstack.metrics.ranking import hit_rate, label_rankings, macro_roc_auc, top_k
from mlstack.metrics.regression import TargetScores, per_target_metrics, regression_metrics
from mlstack.metrics.scores import Scores, score

__all__ = [
    "BinaryScores",
    "CalibrationBins",
    "ClassScores",
    "Scores",
    "TargetScores",
    "binary_scores",
    "bins_of_classes",
    "calibration_bins",
    "classification_metrics",
    "confusion_matrix",
    "decided",
    "hit_rate",
    "label_rankings",
    "macro_roc_auc",
    "multilabel_metrics",
    "per_class_metrics",
    "per_label_metrics",
    "per_target_metrics",
    "picture_losses",
    "regression_metrics",
    "score",
    "top_k",
]
