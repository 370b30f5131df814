"""Where a run's metrics go: metrics.csv, TensorBoard, Weights & Biases, MLflow. Knows no training framework."""

from mlstack.trackers.base import Tracker
from mlstack.trackers.build import build_trackers
from mlstack.trackers.finish import close_trackers, finish_trackers
from mlstack.trackers.histograms import Histogram, log_histograms

__all__ = ["Histogram", "Tracker", "build_trackers", "close_trackers", "finish_trackers", "log_histograms"]
