"""The image that ours are built upon: the official Python one, or a stand-in made of this machine.

Where no registry can be reached, the stand-in takes its place: Debian's smallest set of packages, and this machine's
own CPython in /usr/local, as in the official image (127 MB against its 125). It is made once an engine, in one to two
minutes. PYTHON_IMAGE names another one. A machine whose pip needs certificates of its own (a proxy) gets these on top.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from engine import Docker, EngineError
from own_engine import install_packages
from package_index import pip_addresses

OFFICIAL = "python:3.11-slim-bookworm"  # what deploy/cpu/Dockerfile names
PULL_SECONDS = 60
STAND_IN = "mlstack-test-base:stand-in"
WITH_CERTIFICATES = "mlstack-test-base:certificates"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Beside the libraries that Python loads: what the official image has too.
PACKAGES = ("ca-certificates", "netbase", "tzdata")
LEFT_OUT = ("__pycache__", "test", "tests", "site-packages", "config-*", "_test*.so", "xxlimited*.so", "_tkinter*.so")
WITHOUT = ("man", "info", "locale", "doc")  # of /usr/share
ENVIRONMENT = ("PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")


def python_image(docker: Docker) -> str:
    """What to give as PYTHON_IMAGE; made or pulled where it is missing.

    Raises:
        EngineError: There is no official image, and no stand-in can be made here.
    """
    chosen = os.environ.get("PYTHON_IMAGE")
    if chosen:
        return chosen
    image = OFFICIAL if docker.has_image(OFFICIAL) or _pulled(docker) else _stand_in(docker)
    certificate = pip_addresses("cert")
    return _with_certificates(docker, image, Path(certificate[0])) if certificate else image


def _pulled(docker: Docker) -> bool:
    if docker.has_image(STAND_IN):
        return False  # the registry could not be reached before
    try:
        return docker.process("pull", "--quiet", OFFICIAL, timeout=PULL_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _with_certificates(docker: Docker, image: str, certificate: Path) -> str:
    """The image with the certificates that this machine's pip is told to use."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        shutil.copy(certificate, context / "certificates.crt")
        (context / "pip.conf").write_text(f"[global]\ncert={CERTIFICATES}\n")
        (context / "Dockerfile").write_text(
            f"FROM {image}\nCOPY certificates.crt {CERTIFICATES}\nCOPY pip.conf /etc/pip.conf\n"
        )
        docker.build("", WITH_CERTIFICATES, dockerfile="Dockerfile", context=context)
    return WITH_CERTIFICATES


def _stand_in(docker: Docker) -> str:
    """Make the stand-in where the engine doesn't have it."""
    if docker.has_image(STAND_IN):
        return STAND_IN
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise EngineError(f"{OFFICIAL} can't be pulled, and a stand-in needs root on Debian; or set PYTHON_IMAGE")
    if sys.base_prefix == "/usr":
        raise EngineError(f"{OFFICIAL} can't be pulled, and a stand-in needs a Python that is not Debian's own")
    if shutil.which("mmdebstrap") is None:
        install_packages("mmdebstrap")
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        archive = Path(folder, "base.tar")
        _make_root(Path(folder), archive)
        settings = [word for one in ENVIRONMENT for word in ("--change", f"ENV {one}")]
        docker.run("import", *settings, "--change", 'CMD ["python3"]', archive, STAND_IN, timeout=300)
    return STAND_IN


def _make_root(folder: Path, archive: Path) -> None:
    """Write the stand-in's files as an archive."""
    python = folder / "python.tar"
    _archive_python(folder / "python", python)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    hooks = [
        f"tar-in {python} /",
        'chroot "$1" ldconfig',
        f'chroot "$1" {version} -I -m ensurepip --default-pip',
        f'find "$1/usr/local/lib/{version}" -name __pycache__ -prune -exec rm -r {{}} +',
    ]
    words = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join([*PACKAGES, *_libraries()])}"]
    words += ['--aptopt=Apt::Install-Recommends "false"', "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr"]
    words += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in WITHOUT]
    words += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    words += [f"--customize-hook={hook}" for hook in hooks]
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(
        [*words, _codename(), str(archive)], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise EngineError(f"mmdebstrap: exit status {done.returncode}\n{done.stderr[-3000:]}")


def _archive_python(place: Path, archive: Path) -> None:
    """This machine's CPython below usr/local, without tests and static libraries, as an archive."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    source, target = Path(sys.base_prefix), place / "usr" / "local"
    for name in ("bin", "lib"):
        (target / name).mkdir(parents=True)
    shutil.copy2(source / "bin" / version, target / "bin" / version)
    for name in ("python", "python3"):
        (target / "bin" / name).symlink_to(version)
    for library in (source / "lib").glob("libpython3*.so*"):
        shutil.copy2(library, target / "lib" / library.name, follow_symlinks=False)
    left_out = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(source / "lib" / version, target / "lib" / version, symlinks=True, ignore=left_out)
    (target / "lib" / version / "site-packages").mkdir()
    shutil.copytree(source / "include" / version, target / "include" / version)
    _strip(target)
    subprocess.run(["tar", "--owner=0", "--group=0", "-C", place, "-cf", archive, "usr"], check=True)


def _strip(folder: Path) -> None:
    """Take symbols for debuggers away, as the official image does, where the tool for it is there."""
    if shutil.which("strip") is not None:
        libraries = [path for path in folder.rglob("*.so*") if not path.is_symlink()]
        subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)


def _libraries() -> set[str]:
    """Debian's packages that hold the libraries which this Python loads."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    programs = [Path(sys.base_prefix, "bin", version), *_extensions(Path(sys.base_prefix, "lib", version))]
    told = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    paths = {str(Path(found).resolve()) for found in re.findall(r"=> (/\S+)", told)}
    paths = {path for path in paths if not path.startswith(sys.base_prefix)}
    owners = subprocess.run(["dpkg", "-S", *paths], capture_output=True, text=True, check=False).stdout
    return {line.partition(":")[0] for line in owners.splitlines() if not line.startswith("diversion")}


def _extensions(stdlib: Path) -> Iterator[Path]:
    for path in (stdlib / "lib-dynload").glob("*.so"):
        if not path.name.startswith(("_test", "_tkinter", "xxlimited")):
            yield path


def _codename() -> str:
    """Of this machine's Debian: its Python needs its libraries."""
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def _fast_folder() -> str | None:
    """Memory, where there is enough of it: dpkg waits for the disk a thousand times."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 10**9 else None
