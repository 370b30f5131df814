"""How good predictions are: NumPy only, so that engines, evaluation and figures all count alike."""

from mlstack.metrics.classification import classification_metrics
from mlstack.metrics.confusion import BinaryScores, ClassScores, binary_scores, confusion_matrix, per_class_metrics
from mlstack.metrics.ranking import hit_rate, macro_roc_auc, top_k

__all__ = [
    "BinaryScores",
    "ClassScores",
    "binary_scores",
    "classification_metrics",
    "confusion_matrix",
    "hit_rate",
    "macro_roc_auc",
    "per_class_metrics",
    "top_k",
]
