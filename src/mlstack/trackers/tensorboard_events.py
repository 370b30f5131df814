"""What TensorBoard's pages read: one summary each, under the names that torch.utils.tensorboard gives them, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import api_pb2 as api
from tensorboard.plugins.hparams import metadata as hparams_page
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.plugins.text import metadata as text_page

from mlstack.trackers.histograms import Histogram


def scalar(name: str, value: float) -> Summary:
    """A point of the curve `name`."""
    return Summary(value=[Summary.Value(tag=name, simple_value=value)])


def text(name: str, markdown: str) -> Summary:
    """Text, which TensorBoard shows as Markdown."""
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()], tensor_shape=shape)
    metadata = text_page.create_summary_metadata(display_name=None, description=None)
    return _summary(f"{name}/text_summary", metadata, tensor)


def image(name: str, path: Path) -> Summary:
    """A PNG as it is.

    Raises:
        OSError: It is none.
    """
    with Image.open(path) as picture:
        width, height, channels = *picture.size, len(picture.getbands())
    encoded = Summary.Image(width=width, height=height, colorspace=channels, encoded_image_string=path.read_bytes())
    return Summary(value=[Summary.Value(tag=name, image=encoded)])


def histogram(name: str, one: Histogram) -> Summary:
    """How values are spread."""
    proto = HistogramProto(
        min=float(one.edges[0]),
        max=float(one.edges[-1]),
        num=int(one.counts.sum()),
        sum=one.total,
        sum_squares=one.squares,
        bucket_limit=one.edges[1:].tolist(),
        bucket=one.counts.tolist(),
    )
    return Summary(value=[Summary.Value(tag=name, histo=proto)])


def hparams(settings: Mapping[str, Any], metrics: Iterable[str]) -> list[Summary]:
    """A row of the HParams page, which compares runs.

    Args:
        settings: What the run was made with, by dotted name.
        metrics: Names of scalars in the same folder; their last values are shown.
    """
    plain = {name: value if isinstance(value, bool | int | float) else str(value) for name, value in settings.items()}
    start = SessionStartInfo()
    for name, value in plain.items():
        setattr(start.hparams[name], f"{_kind(value)}_value", value)
    experiment = api.Experiment(
        hparam_infos=[api.HParamInfo(name=name, type=TYPES[_kind(value)]) for name, value in plain.items()],
        metric_infos=[api.MetricInfo(name=api.MetricName(tag=name)) for name in metrics],
    )
    contents = {
        hparams_page.EXPERIMENT_TAG: HParamsPluginData(experiment=experiment),
        hparams_page.SESSION_START_INFO_TAG: HParamsPluginData(session_start_info=start),
        hparams_page.SESSION_END_INFO_TAG: HParamsPluginData(
            session_end_info=SessionEndInfo(status=api.Status.Value("STATUS_SUCCESS"))
        ),
    }
    return [
        _summary(tag, hparams_page.create_summary_metadata(content), hparams_page.NULL_TENSOR)
        for tag, content in contents.items()
    ]


TYPES = {"bool": api.DATA_TYPE_BOOL, "number": api.DATA_TYPE_FLOAT64, "string": api.DATA_TYPE_STRING}


def _kind(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return "bool"
    return "string" if isinstance(value, str) else "number"


def _summary(tag: str, metadata: SummaryMetadata, tensor: TensorProto) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])
