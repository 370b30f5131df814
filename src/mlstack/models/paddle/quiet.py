"""Imports paddle so that nobody notices: no warning, no handler at the root of all loggers, nothing printed.

Left alone, `import paddle` (3.3.1) looks for ccache and warns that there is none, gives the root logger a handler and
the level INFO, which makes other libraries talk, and gives some forty loggers of its own handlers and levels.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mlstack.models.paddle.kernels import choose_kernels


@contextmanager
def _logging_untouched() -> Iterator[None]:
    """Restore the handlers and levels of all loggers; those that are new get none, so that root decides for them."""
    before = {logger: (logger.handlers[:], logger.level, logger.propagate) for logger in _loggers()}
    try:
        yield
    finally:
        for logger in _loggers():
            handlers, level, propagate = before.get(logger, ([], logging.NOTSET, True))
            for handler in set(logger.handlers) - set(handlers):
                logger.removeHandler(handler)
                handler.close()
            logger.setLevel(level)
            logger.propagate = propagate


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.values()
    return [logging.root, *(logger for logger in known if isinstance(logger, logging.Logger))]


choose_kernels()
os.environ.setdefault("GLOG_minloglevel", "2")  # read with the import: connections between processes are no news
with _logging_untouched(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import paddle
    from paddle.distributed.fleet.utils import recompute as recompute
    from paddle.nn.layer.norm import _BatchNormBase


def _batch_norm(self: _BatchNormBase, input: paddle.Tensor) -> paddle.Tensor:  # noqa: A002  Paddle's name
    """`forward` of every batch norm as in Paddle, less the warning at each training step, which nobody can act on."""
    # "When training, we now always track global mean and variance."
    self._check_data_format(self._data_format)
    self._check_input_dim(input)
    return paddle.nn.functional.batch_norm(
        input,
        self._mean,
        self._variance,
        weight=self.weight,
        bias=self.bias,
        training=self.training,
        momentum=self._momentum,
        epsilon=self._epsilon,
        data_format=self._data_format,
        use_global_stats=self._use_global_stats,
    )


_BatchNormBase.forward = _batch_norm
