"""Pack what benchmarks/gpu.py needs on a machine without an index and without a network: `make gpu-kit`.

    python benchmarks/gpu_kit/pack.py                    # outputs/gpu-kit.tar.gz, at most 40 MB, in half a minute
    tar xzf gpu-kit.tar.gz && sh gpu-kit/run.sh          # there

In it: the code as the work tree has it, made-up photographs, and the wheels that a machine with torch and Lightning may
lack, at the pins of the requirements files: pure Python, or for CPython 3.11 to 3.13 on x86-64 Linux (onnxruntime and
uvloop for 3.12 alone). The same work tree gives the same bytes, as long as the index gives the same wheels.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from _photographs import photograph_files
from gpu_kit.wheels import WHEELS
from mlstack.provenance import git_state
from mlstack.validation.machine import read_pins

ROOT = Path(__file__).resolve().parents[2]
NAME = "gpu-kit"
PYTHONS = ("3.12", "3.11", "3.13")  # the first one gets the large wheels too
# pip takes these by their exact names: what the pinned wheels are built for, oldest last.
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux_2_5", "manylinux1")
CODE = ("src", "scripts", "configs", ":(glob)benchmarks/*.py", "benchmarks/gpu_parts", "benchmarks/gpu_kit")
PAPERS = ("LICENSE", "pyproject.toml", "constraints.txt", "requirements-*.txt")
PHOTOGRAPHS = 48  # to train on; 16 more are held out
MOST = 40e6  # bytes
EPOCH = 315_532_800  # seconds: 1980, the earliest time that a zip file can hold
Member = tuple[str, bytes]  # name in the archive, and content


def main() -> int:
    """Pack, and say what is in it."""
    parser = argparse.ArgumentParser(description="Pack benchmarks/gpu.py for a machine without a network.")
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / f"{NAME}.tar.gz")
    output: Path = parser.parse_args().output
    with tempfile.TemporaryDirectory() as folder:
        fetch_wheels(Path(folder))
        parts = {
            "code": list(code()),
            "photographs": [(f"photographs/{name}", content) for name, content in photograph_files(PHOTOGRAPHS)],
            "wheels": [(f"wheels/{path.name}", path.read_bytes()) for path in sorted(Path(folder).glob("*.whl"))],
        }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(packed([member for members in parts.values() for member in members]))
    for name, members in parts.items():
        print(f"{name:<12} {len(members):>4} files  {sum(len(content) for _, content in members) / 1e6:6.1f} MB")
    for name, content in parts["wheels"]:
        print(f"  {len(content) / 1e6:6.2f} MB  {name.removeprefix('wheels/')}")
    size = output.stat().st_size
    print(f"{output}: {size / 1e6:.1f} MB (at most {MOST / 1e6:.0f})")
    print(f"there: tar xzf {output.name} && sh {NAME}/run.sh")
    return 0 if size <= MOST else 1


def fetch_wheels(folder: Path) -> None:
    """Get the wheels from the index; what has none there is built.

    Raises:
        CalledProcessError: pip failed, and said why.
    """
    pins = read_all_pins()
    requirements = pinned(pins)
    built = [one for one in requirements if one.startswith("antlr4-python3-runtime==")]  # published as source alone
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    target = ["--only-binary=:all:", "--implementation", "cp", "--no-deps", "--dest", str(folder)]
    target += [word for name in PLATFORMS for word in ("--platform", f"{name}_x86_64")]
    for version in PYTHONS:
        large = () if version == PYTHONS[0] else pinned(pins, large=True)
        wanted = [one for one in requirements if one not in (*built, *large)]
        subprocess.run([*pip, "download", "--python-version", version, *target, *wanted], check=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), *built], check=True, env=environment)


def read_all_pins() -> dict[str, str]:
    """What the requirements files and constraints.txt pin, by package."""
    files = [*sorted(ROOT.glob("requirements-*.txt")), ROOT / "constraints.txt"]
    return {name: version for path in files for name, version in read_pins(path).items()}


def pinned(pins: dict[str, str], *, large: bool = False) -> list[str]:
    """`name==version` of each wheel, or of the large ones.

    Raises:
        KeyError: No file pins it.
    """
    return [f"{wheel.package}=={pins[wheel.package]}" for wheel in WHEELS if wheel.large or not large]


def code() -> Iterator[Member]:
    """The files of the work tree that git knows or could know, and what the kit has at its top."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *CODE, *PAPERS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in sorted(set(filter(None, listing.stdout.split("\0")))):
        if (ROOT / name).is_file():
            yield name, (ROOT / name).read_bytes()
    state = git_state()
    changes = "+changes" if state.get("uncommitted_changes") else ""
    yield "COMMIT", f"{state.get('commit', '')}{changes}\n".encode()
    for name in ("run.sh", "README.txt"):
        yield name, (ROOT / "benchmarks" / "gpu_kit" / name).read_bytes()


def packed(members: list[Member]) -> bytes:
    """A .tar.gz whose bytes depend on the members alone: sorted, of nobody, of no time."""
    raw = BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, content in sorted(members):
            info = tarfile.TarInfo(f"{NAME}/{name}")
            info.size, info.mtime, info.mode = len(content), EPOCH, 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(info, BytesIO(content))
    return raw.getvalue()


if __name__ == "__main__":
    sys.exit(main())
