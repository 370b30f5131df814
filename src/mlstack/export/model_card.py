"""README.md of a bundle: what the model is, how good it is, how to call it and how it was made, from facts only.

What is not known is left out, never guessed; latency is measured when the card is written, on the machine that does so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlstack.bundle.metadata import Metadata
from mlstack.bundle.reference import REFERENCE, Reference, read_reference
from mlstack.export.card_figures import CAPTIONS, add_figures
from mlstack.export.card_text import bullets, code, markdown_table, plain, share, size
from mlstack.export.latency import Timed, latencies
from mlstack.runs import RunFolder, write_text
from mlstack.utils.hardware import cpu_name

NAMED_CLASSES = 20
NAMED_LAYERS = 8
MEASURED_S = 0.5  # seconds of latency for each model file: dozens of calls, unless the model is slow
RESIZE = {
    "crop": "the centre square, resampled to {side} × {side}, of that the middle",
    "stretch": "the whole picture, resampled without regard to its proportions",
    "pad": "the whole picture, its longer side resampled to that size, black beside it",
}
KINDS = {"classification": "classes", "multilabel": "labels", "regression": "targets"}
SHARES = ("accuracy", "top5_accuracy", "precision", "recall", "f1", "exact_match", "calibration_error", "agreement")
PARITY = {
    "images": "pictures compared",
    "source": "the pictures",
    "reference": "compared with",
    "relative_error": "greatest difference, relative to the largest value",
    "max_error": "allowed",
    "output_error": "that of the answers",
    "feature_error": "that of the features",
    "agreement": "same decision",
    "clear": "clear decisions: the network's own margin is at least 0.0001",
    "agreement_clear": "same decision among these",
}


def write_card(staging: Path, metadata: Metadata, *, run: RunFolder | None = None) -> None:
    """Write README.md and figures/ into a bundle that is being made.

    Args:
        staging: The bundle's folder; the model files and reference.npz are in it.
        metadata: Its facts; sizes are read from the files.
        run: Where the network was trained: its figures and results are taken over. None = an ONNX file of one's own.

    Raises:
        BundleError: A model file or reference.npz can't be read.
        OutputError: README.md or a figure can't be written.
    """
    reference = read_reference(staging / REFERENCE, metadata)
    results = run.read_results() if run is not None else {}
    figures = add_figures(staging / "figures", metadata, run=run, reference=reference)
    parts = [
        *_opening(metadata),
        *_use(metadata),
        *_files(staging, metadata, reference),
        *_metrics(metadata),
        *_parity(metadata),
        *_calibration(metadata),
        *_data(metadata),
        *_making(metadata, results),
        *_limits(metadata),
        *_figures(figures),
    ]
    write_text(staging / "README.md", "\n\n".join(parts) + "\n")


def _opening(metadata: Metadata) -> Iterator[str]:
    kind, classes = KINDS[metadata.task], metadata.classes
    yield f"# {plain(metadata.name)}"
    yield f"{metadata.task.capitalize()}, version {plain(metadata.version)}, made {metadata.created_at[:19]} UTC."
    more = f", … ({len(classes) - NAMED_CLASSES:,} more in metadata.json)" if len(classes) > NAMED_CLASSES else ""
    names = ", ".join(plain(name) for name in classes[:NAMED_CLASSES])
    yield f"Its {len(classes):,} {kind}: {names}{more}."


def _use(metadata: Metadata) -> Iterator[str]:
    picture = metadata.input
    colour = "grey" if picture.channels == 1 else "red, green, blue"
    some = f"[:{metadata.batch}]" if metadata.batch else ""
    batch = str(metadata.batch or "batch")
    answer = "answers.argmax(axis=1)" if metadata.task == "classification" else "answers"
    yield "## Use"
    yield "In this folder, with `onnxruntime` and `numpy` installed:"
    yield code(
        f"""\
import json, numpy, onnxruntime

classes = json.load(open("metadata.json", encoding="utf-8"))["classes"]
images = numpy.load("reference.npz")["golden_images"]{some}  # or your own: uint8
session = onnxruntime.InferenceSession("{_default_file(metadata)}", providers=["CPUExecutionProvider"])
answers, features = session.run(["{metadata.output}", "features"], {{"images": images}})
print(classes, {answer}, sep="\\n")""",
        "python",
    )
    rule = RESIZE[picture.resize].format(side=picture.decoded_size)
    yield bullets(
        f"input `images`: uint8 [{batch}, {picture.height}, {picture.width}, {picture.channels}], {colour}, 0 to 255; "
        "normalisation is part of the model",
        f"how a photograph becomes that: {rule}",
        f"output `{metadata.output}`: float32 [{batch}, {len(metadata.classes)}], {_meaning(metadata.task)}",
        f"output `features`: float32 [{batch}, {metadata.features}], what the last layer sees",
    )


def _meaning(task: str) -> str:
    return {
        "classification": "each row sums to 1",
        "multilabel": "each from 0 to 1 by itself; a label applies from 0.5 on",
        "regression": "in the targets' own units",
    }[task]


def _default_file(metadata: Metadata) -> str:
    return next(model.file for model in metadata.models if model.precision == metadata.default)


def _files(staging: Path, metadata: Metadata, reference: Reference) -> Iterator[str]:
    """Sizes, and times that are measured now."""
    picture = reference.golden_images[: metadata.batch or 1]
    paths = [staging / model.file for model in metadata.models]
    times = latencies([Timed(path, picture) for path in paths], seconds=MEASURED_S)
    rows = [
        [f"`{model.file}`", model.precision, size(path.stat().st_size), f"{time.p50:.3g} ms"]
        for model, path, time in zip(metadata.models, paths, times, strict=True)
    ]
    yield "## Files"
    yield markdown_table(["file", "precision", "size", "latency, median"], rows)
    calls = f"{len(picture)} picture{'s' * (len(picture) > 1)} a call, one thread"
    yield f"Latency: {calls}, ONNX Runtime, measured at export on {plain(cpu_name())}."
    details = [f"`{model.file}`: {text}" for model in metadata.models if (text := _details(model.details))]
    if details:
        yield bullets(*details)


def _details(details: Mapping[str, Any]) -> str:
    """`drop 0.25; left out: 1 (stem); calibration: method minmax, images 256`."""
    texts = []
    for name, value in details.items():
        words = plain(name.replace("_", " "))
        if name == "sensitive":  # the same layers as `left_out`, with their errors
            continue
        if isinstance(value, Mapping):
            texts.append(f"{words}: " + ", ".join(f"{plain(key)} {_value(key, each)}" for key, each in value.items()))
        elif isinstance(value, list | tuple):
            named = ", ".join(_named(item) for item in value[:NAMED_LAYERS])
            more = ", …" if len(value) > NAMED_LAYERS else ""
            texts.append(f"{words}: {len(value)}" + (f" ({named}{more})" if named else ""))
        elif value is not None:
            texts.append(f"{words} {_value(name, value)}")
    return "; ".join(texts)


def _named(item: object) -> str:
    """A layer by its name; the whole of what is known about it stands in metadata.json."""
    return f"`{item.get('node', item) if isinstance(item, Mapping) else item}`"


def _value(name: str, value: object) -> str:
    """A fact as a reader wants it: shares in percent, four significant digits, – for what is not known."""
    if value is None or value != value:  # NaN
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return plain(str(value))
    if name in SHARES or name.startswith("agreement"):
        return share(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _metrics(metadata: Metadata) -> Iterator[str]:
    columns = [
        (f"{model.precision}, {split}", scores) for model in metadata.models for split, scores in model.metrics.items()
    ]
    yield "## How good it is"
    if not columns:
        yield "Nobody has measured it: no labelled pictures were given."
        return
    names = list(dict.fromkeys(name for _, scores in columns for name in scores))
    rows = [[name.replace("_", " "), *(_value(name, scores.get(name)) for _, scores in columns)] for name in names]
    yield markdown_table(["metric", *(head for head, _ in columns)], rows)


def _parity(metadata: Metadata) -> Iterator[str]:
    yield "## Does it answer as the network does"
    if not metadata.parity:
        yield "Not compared with anything."
        return
    known = [
        [PARITY.get(name, name.replace("_", " ")), _value(name, value)]
        for name, value in sorted(metadata.parity.items(), key=lambda item: [*PARITY, item[0]].index(item[0]))
        if value is not None
    ]
    yield markdown_table(["", f"`{metadata.models[0].file}`"], known)


def _calibration(metadata: Metadata) -> Iterator[str]:
    if metadata.task == "regression":
        return
    yield "## Calibration"
    errors = metadata.calibration
    if metadata.temperature is None or not errors:
        yield "No temperature was fitted: a probability of 80 % need not mean right 8 times in 10."
        return
    yield (
        f"The logits are divided by {metadata.temperature:.4g}, fitted on val. Expected calibration error there: "
        f"{share(errors['error_before'])} before, {share(errors['error_after'])} after."
    )
    if "test_error_before" in errors:
        yield f"On test: {share(errors['test_error_before'])} before, {share(errors['test_error_after'])} after."


def _data(metadata: Metadata) -> Iterator[str]:
    data = metadata.data
    if not data:
        return
    yield "## Data"
    facts = [f"name: {plain(str(data.get('name', 'unknown')))}"]
    images = data.get("images")
    if isinstance(images, Mapping):
        facts.append("pictures: " + ", ".join(f"{count:,} {plain(split)}" for split, count in images.items()))
    elif images is not None:
        facts.append(f"pictures: {_value('images', images)}")
    if data.get("fingerprint"):
        facts.append(f"fingerprint: `{data['fingerprint']}`")
    yield bullets(*facts)


def _making(metadata: Metadata, results: Mapping[str, Any]) -> Iterator[str]:
    source = {name: value for name, value in metadata.source.items() if not isinstance(value, Mapping)}
    facts = [f"{plain(name.replace('_', ' '))}: {_value(name, value)}" for name, value in source.items() if value]
    if command := results.get("command"):
        facts.append(f"trained by: `{command}`")
    for name, git in (("code trained with", results.get("git")), ("code exported with", metadata.source.get("git"))):
        if git:
            changed = ", with uncommitted changes" if git.get("uncommitted_changes") else ""
            facts.append(f"{name}: commit `{git.get('commit')}`{changed}")
    measured = {"parameters": "parameters", "epochs": "epochs", "train_seconds": "seconds of training", "device": ""}
    trained = [f"{_value(key, results[key])} {words}".strip() for key, words in measured.items() if results.get(key)]
    facts += [", ".join(trained)] if trained else []
    facts.append("versions: " + ", ".join(f"{plain(name)} {plain(text)}" for name, text in metadata.versions.items()))
    yield "## How it was made"
    yield bullets(*facts)


def _limits(metadata: Metadata) -> Iterator[str]:
    facts = []
    name = plain(str(metadata.data.get("name") or metadata.parity.get("source", "")))
    if any(model.metrics for model in metadata.models):
        facts.append(f"Its metrics were measured on pictures of {name}; they say nothing about other pictures.")
    if metadata.task == "classification":
        facts.append("It names one of its classes for every picture, also for one that shows none of them.")
    if metadata.batch:
        facts.append(f"It takes {metadata.batch} picture(s) a call, no more and no fewer.")
    facts.append("Nothing else was measured: no damaged pictures, no other cameras, no differences between groups.")
    yield "## Limits"
    yield bullets(*facts)


def _figures(figures: Sequence[Path]) -> Iterator[str]:
    if not figures:
        return
    yield "## Figures"
    for path in figures:
        caption = CAPTIONS.get(path.stem, path.stem.replace("_", " "))
        yield f"![{caption}](figures/{path.name})\n\n*{caption}*"
