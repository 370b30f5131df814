"""Put together the files of the `serve` image: Python, the packages, and the shared libraries that these really load.

    python deploy/cpu/assemble.py /venv /image        # a stage of deploy/cpu/Dockerfile runs it, as root, on Debian

Copies the running interpreter with its standard library and the environment to `/image`, leaves out what a service of
pictures never uses, asks `ldd` which libraries of the system are needed by what is left, compiles everything, and
writes the few files of /etc that a program without a distribution around it looks for. Needs nothing but Python.
Expect a line about size at the end. `check_image.py` then tries the result.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

USER = 10001
# The standard library's parts that bring a terminal, a window, a database, tests or an installer. Patterns of paths.
UNUSED_STDLIB = (
    *("config-3.*", "curses", "dbm", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages"),
    *("sqlite3", "test", "tkinter", "turtle.py", "turtledemo", "venv"),
    *(f"lib-dynload/{name}.*" for name in ("_crypt", "_curses", "_curses_panel", "_dbm", "_gdbm", "_sqlite3")),
    *(f"lib-dynload/{name}.*" for name in ("_tkinter", "nis", "ossaudiodev", "readline", "xxlimited*", "_xxtest*")),
    *("lib-dynload/_test*", "lib-dynload/_ctypes_test*"),
)
# Parts of packages. The binding holds ONNX Runtime itself, so libonnxruntime.so, for programs in C, is a second copy.
UNUSED_PACKAGES = (
    "onnxruntime/capi/libonnxruntime.so*",
    *(f"onnxruntime/{name}" for name in ("backend", "datasets", "quantization", "tools", "transformers")),
    # What ONNX Runtime's tools alone need, which went with the line above.
    *("flatbuffers*", "google", "protobuf-*"),
    # Pillow: colour profiles, text, AVIF, and what draws in a window.
    *(f"PIL/{name}.*" for name in ("_avif", "_imagingcms", "_imagingft", "_imagingtk")),
    *("numpy/f2py", "numpy/_core/include", "numpy/_core/lib", "numpy/random/lib", "numpy/**/*.a"),
    *("numpy/_core/_simd.*", "numpy/_core/_*_tests.*"),  # for NumPy's own tests
    *("**/tests", "**/*.c", "**/*.h", "**/*.pxd", "**/*.pyx", "**/*.pyi"),
)
ETC = {
    "passwd": f"root:x:0:0::/:\nserve:x:{USER}:{USER}::/tmp:\n",
    "group": f"root:x:0:\nserve:x:{USER}:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",  # without it /etc/hosts would be looked at last
}
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # whom a webhook's address is checked against


def main() -> None:
    venv, image = Path(sys.argv[1]), Path(sys.argv[2])
    stdlib = Path(sysconfig.get_path("stdlib"))
    copy_tree(stdlib, image, UNUSED_STDLIB)
    copy_tree(venv, image, ())
    prune_packages(image)
    interpreter = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    copy_file(interpreter, image)
    leave_one_command(below(image, venv) / "bin", interpreter)
    link_top_folders(image)
    copy_libraries(image)
    for path in (*files(below(image, venv)), *files(below(image, Path(sys.base_prefix)))):
        cut_symbols(path)
    write_etc(image)
    compile_all(image, (stdlib, venv))
    subprocess.run(["ldconfig", "-r", image], check=True)
    total = sum(path.lstat().st_size for path in files(image))
    print(f"{image}: {total / 1e6:.1f} MB")


def copy_tree(folder: Path, image: Path, unused: Iterable[str]) -> None:
    """Copy a folder to its own place below `image`, without what `unused` names and without compiled files."""
    left_out = {path for pattern in unused for path in folder.glob(pattern)}

    def ignore(parent: str, names: list[str]) -> set[str]:
        return {name for name in names if name == "__pycache__" or Path(parent, name) in left_out}

    shutil.copytree(folder, below(image, folder), symlinks=True, ignore=ignore)


def prune_packages(image: Path) -> None:
    """Take away parts of packages, then the libraries in their `*.libs` folders that nothing loads any more."""
    [packages] = image.glob("venv/lib/python3*/site-packages")
    for pattern in UNUSED_PACKAGES:
        for path in list(packages.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    bundled = {path.resolve() for folder in packages.glob("*.libs") for path in folder.iterdir()}
    roots = [path for path in files(packages) if is_elf(path) and path.resolve() not in bundled]
    for path in bundled - {found.resolve() for found in loaded_by(roots)}:
        path.unlink()


def leave_one_command(folder: Path, interpreter: Path) -> None:
    """Leave nothing in the environment's `bin` but `python`: the others are scripts of shells and of packages."""
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "python").symlink_to(interpreter)


def copy_libraries(image: Path) -> None:
    """Copy the system's libraries that anything in the image loads, with the loader itself."""
    inside = [path for path in files(image) if is_elf(path)]
    for library in sorted(loaded_by(inside)):
        if not library.is_relative_to(image):
            copy_file(library, image)


def loaded_by(programs: Iterable[Path]) -> set[Path]:
    """Every library that the loader would map for these programs and libraries, as absolute paths."""
    found: set[Path] = set()
    for program in programs:
        told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for line in told.splitlines():
            if "not found" in line:
                raise SystemExit(f"{program} needs a library that is not there:{line}")
            found.update(Path(word) for word in line.split() if word.startswith("/") and not word.endswith(":"))
    return found


def cut_symbols(path: Path) -> None:
    """Cut off what follows the last part of a library that the loader maps: symbols for debuggers, section headers.

    uvloop loses 12 of its 13.6 MB. `strip` would do the same, and would have to be installed for it.
    """
    if not is_elf(path):
        return
    data = bytearray(path.read_bytes())
    if data[4:6] != b"\x02\x01":  # 64 bits, little-endian
        return
    (table,) = struct.unpack_from("<Q", data, 32)
    entry_size, entries = struct.unpack_from("<HH", data, 54)
    end = table + entry_size * entries
    for number in range(entries):
        _, _, offset, _, _, size, _, _ = struct.unpack_from("<IIQQQQQQ", data, table + number * entry_size)
        end = max(end, offset + size)
    struct.pack_into("<Q", data, 40, 0)  # no table of sections,
    struct.pack_into("<HH", data, 60, 0, 0)  # none in it, and no names of any
    path.write_bytes(data[:end])


def copy_file(source: Path, image: Path) -> None:
    """Copy a file to its own place below `image`; a link to it is followed."""
    place = below(image, source.parent.resolve() / source.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, place)


def link_top_folders(image: Path) -> None:
    """Repeat the links /lib → usr/lib and /lib64 → usr/lib64: the loader's path is written into every program."""
    for name in ("lib", "lib64"):
        link = Path("/", name)
        if link.is_symlink():
            below(image, link.resolve()).mkdir(parents=True, exist_ok=True)
            below(image, link).symlink_to(link.readlink())


def write_etc(image: Path) -> None:
    """Names of users, the order of name look-ups, certificates, the loader's folders; /tmp for everybody."""
    etc = image / "etc"
    etc.mkdir()
    for name, text in ETC.items():
        (etc / name).write_text(text)
    copy_file(CERTIFICATES, image)
    copy_file(Path("/etc/ld.so.conf"), image)
    copy_tree(Path("/etc/ld.so.conf.d"), image, ())
    copy_file(Path("/etc/os-release"), image)
    (image / "tmp").mkdir()
    (image / "tmp").chmod(0o1777)


def compile_all(image: Path, folders: Iterable[Path]) -> None:
    """Compile every module: a read-only container would do it again at each start. No source is looked at then."""
    mode = ("--invalidation-mode", "unchecked-hash")
    prefix = ("-s", str(image), "-p", "/")  # tracebacks name the places in the container
    places = [str(below(image, folder)) for folder in folders]
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-j0", *mode, *prefix, *places], check=True)


def below(image: Path, path: Path) -> Path:
    return image / path.relative_to("/")


def files(folder: Path) -> Iterator[Path]:
    """Files in a folder and below; links count as such and are not followed."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def is_elf(path: Path) -> bool:
    if path.is_symlink():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


if __name__ == "__main__":
    main()
