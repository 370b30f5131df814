"""Make a bundle fit a small device: its precision, picture size, pictures a call and threads, within its memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.folder import Bundle, find_bundle, read_bundle
from mlstack.commands.benchmark import machine
from mlstack.config.export import EdgeConfig
from mlstack.datasets import Dataset
from mlstack.datasets.decode import read_images
from mlstack.datasets.files import find_images
from mlstack.errors import BundleError, ConfigError, MLStackError
from mlstack.export.bundle_data import HeldOut, data_of, hold_out, picture_input, run_of, score_files
from mlstack.export.device import Device, read_device
from mlstack.export.edge import MODES, Plan, make_edge_bundle
from mlstack.export.edge_report import next_steps, report
from mlstack.utils.console import say

MADE_OF_ORDER = {"none": "fp32", "int8": "int8", "dynamic": "int8_dynamic", "fp16": "fp16"}
SIZE = re.compile(r"(\d+)(?:\s*[x×X]\s*(\d+))?")


def optimize_for_edge(config: EdgeConfig) -> None:
    """Write a bundle for a device, and say what it costs and what it gains, as measured on this machine.

    Raises:
        ConfigError: No such device, or a size that is none.
        BundleError: No such bundle, or a damaged one.
        ExportError: The network fits one size only, is too large for the device, or loses too much in int8.
        OutputError: The folder can't be written.
    """
    device = read_device(config.target)
    bundle = read_bundle(find_bundle(config.bundle, output_dir=config.output_dir))
    if bundle.metadata.batch is not None:
        raise BundleError(
            f"{bundle.path} is fixed to {bundle.metadata.batch} pictures a call, as bundles for devices are",
            hint="start from the bundle that it was made of: bundle=<run folder>",
        )
    size = parse_size(config.input_size) or bundle.metadata.input.height
    output = Path(config.output).expanduser() if config.output else bundle.path.parent / "edge" / device.name
    say(_about(device))
    plan = _plan(config, bundle, device, size)
    scores = _scores_before(bundle, plan.held_out, size, config.max_images)
    made = make_edge_bundle(plan, output)
    say("\n" + report(bundle, made, scores=scores, device=device, machine=machine(), max_drop=config.quantize.max_drop))
    say("\n" + next_steps(made, device, run_of(bundle)))
    say(f"\nwritten: {made.path}")


def parse_size(text: str | None) -> int | None:
    """Height and width from `320x320`, `320×320` or `320`; None = as the bundle has it.

    Raises:
        ConfigError: It is none of these, or no square.
    """
    if text is None:
        return None
    match = SIZE.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"input_size={text} is no size", key="input_size", hint="such as input_size=320x320")
    if match[2] is not None and int(match[2]) != int(match[1]):
        raise ConfigError(
            f"input_size={text} is no square, and pictures are made squares before a model sees them",
            key="input_size",
            hint=f"such as input_size={match[1]}x{match[1]}",
        )
    return int(match[1])


def _about(device: Device) -> str:
    memory = "memory not published" if device.memory_mb is None else f"{device.memory_mb:,} MiB of memory"
    cores = "cores not known: 1 thread" if device.cores is None else f"{device.cores} cores: {device.threads} threads"
    best = ", ".join(device.precisions)
    return f"{device.title}: {device.processor}; {memory}; {cores}; computes fast: {best}; runtime: {device.target}"


def _plan(config: EdgeConfig, bundle: Bundle, device: Device, size: int) -> Plan:
    """What is made, after looking for the data that it takes."""
    is_own_choice = config.quantize.mode == "device"
    precision = device.precisions[0] if is_own_choice else MADE_OF_ORDER[config.quantize.mode]
    dataset = _dataset(bundle, size)
    held_out = {} if dataset is None else {
        split: hold_out(dataset, split, limit=config.max_images) for split in ("val", "test")
    }  # fmt: skip
    calibration = np.empty((0, size, size, bundle.metadata.input.channels), np.uint8)
    if precision == "int8":
        calibration = _calibration(config, bundle, dataset, size)
        if not len(calibration):
            message = "int8 is calibrated on pictures, and neither the bundle's data nor images= are here"
            if not is_own_choice:
                raise ConfigError(message, key="images", hint="name some hundred pictures of the kind: images=photos/")
            say(f"warning: {message}: fp32 is made instead")
            precision = "fp32"
    if not is_own_choice and precision not in device.precisions:
        fast = ", ".join(device.precisions)
        say(f"warning: {device.title} has no arithmetic for {precision}; it computes {fast} faster")
    settings = replace(config.quantize, mode=MODES[precision])
    return Plan(bundle, device, size, config.batch_size, precision, settings, calibration, held_out, is_own_choice, say)


def _dataset(bundle: Bundle, size: int) -> Dataset | None:
    """The bundle's data at a size; None, and a remark, where they are not here."""
    try:
        return data_of(bundle, image_size=size)
    except MLStackError as error:
        say(f"warning: accuracy is not measured: {error.message}")
        return None


def _calibration(config: EdgeConfig, bundle: Bundle, dataset: Dataset | None, size: int) -> NDArray[np.uint8]:
    """Pictures drawn by `quantize.seed`: those of `images=`, else training pictures; uint8 [n, size, size, channel]."""
    picture = picture_input(bundle.metadata.input, size)
    draw = np.random.default_rng(config.quantize.seed)
    if config.images:
        paths = find_images(config.images)
        rows = np.sort(draw.permutation(len(paths))[: config.quantize.images])
        return read_images(
            [paths[row] for row in rows],
            size=size,
            side=picture.decoded_size,
            channels=picture.channels,
            resize=picture.resize,
        )
    if dataset is None:
        return np.empty((0, size, size, picture.channels), np.uint8)
    rows = np.sort(draw.permutation(len(dataset.splits["train"]))[: config.quantize.images])
    return next(iter(HeldOut(dataset, "train", rows).images(len(rows))))


def _scores_before(
    bundle: Bundle, held_out: Mapping[str, HeldOut], size: int, limit: int | None
) -> Mapping[str, Sequence[Mapping[str, float | None]]]:
    """What the files of the bundle reach now, by split, on the same pictures in its own size."""
    if not held_out:
        return {}
    paths = [bundle.path / model.file for model in bundle.metadata.models]
    same = size == bundle.metadata.input.height
    dataset = None if same else data_of(bundle)
    return {
        split: score_files(paths, one if dataset is None else hold_out(dataset, split, limit=limit))
        for split, one in held_out.items()
    }
