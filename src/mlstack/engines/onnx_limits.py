"""What can't be written as ONNX, refused in the same words by every engine."""

from __future__ import annotations

from mlstack.errors import ExportError

OPSET = 18  # what torch's exporter writes without converting afterwards; older runtimes on small devices know it too
LARGEST = 2**31 - 2**24  # bytes of weights: protobuf can't hold 2 GiB, and the graph needs some of that


def check_size(weights: int) -> None:
    """Refuse weights that one ONNX file can't hold.

    Args:
        weights: Size of all weights in 32 bits, bytes.

    Raises:
        ExportError: They are too many.
    """
    if weights > LARGEST:
        raise ExportError(
            f"the weights take {weights / 2**30:.1f} GiB, and one ONNX file holds less than 2 GiB",
            hint="make the network smaller: init_from=<run> prune.ratio=0.5, or distil it: distill.teacher=<run>",
        )


def not_exportable(network: str, reason: str) -> ExportError:
    """One message for a network that can't become ONNX.

    Args:
        network: `model.target`, or `model.name`.
        reason: The operation that the converter has no words for, or else what it said.
    """
    return ExportError(
        f"{network} can't become ONNX: {reason}",
        hint="write that part of the network with other operations\n"
        "what it computes must not depend on the values or the number of its pictures: no `if` on a tensor",
    )
