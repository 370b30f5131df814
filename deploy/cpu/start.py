"""The entry point of the `serve` image: scripts/serve.py, and where it ends at once what that means in a container.

docker run -p 8000:8000 -v ./bundle:/bundle:ro ml-serve:latest serve.allow_anonymous=true
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
BUNDLE = Path("/bundle")
MISTAKE = 2  # the exit status of a mistake in settings or in what they name


def main() -> None:
    sys.path[0] = str(SCRIPTS)
    try:
        runpy.run_path(str(SCRIPTS / "serve.py"), run_name="__main__")
    except SystemExit as end:
        if end.code == MISTAKE:
            for line in hints(sys.argv[1:]):
                print(f"in a container: {line}", file=sys.stderr)
        raise


def hints(words: list[str]) -> Iterator[str]:
    """What is missing from the outside, as far as it can be seen in here."""
    settings = dict(word.partition("=")[::2] for word in words)
    if settings.get("bundle") == str(BUNDLE) and not BUNDLE.exists():
        yield "docker run -v FOLDER:/bundle:ro … mounts a bundle"
    keys = settings.get("serve.api_keys_file")
    if keys is None and "serve.allow_anonymous" not in settings:
        yield "docker run -v FOLDER:/keys:ro … serve.api_keys_file=/keys/keys.txt mounts the file of keys"
    elif keys is not None and not Path(keys).parent.exists():
        yield f"docker run -v FOLDER:{Path(keys).parent}:ro … mounts the folder of the keys"
    for path in (BUNDLE, *BUNDLE.rglob("*"), *([Path(keys)] if keys else [])):
        if path.exists() and not os.access(path, os.R_OK):
            yield f"user {os.getuid()} may not read {path}: chmod -R a+rX FOLDER, or docker run --user UID:GID …"
            return


if __name__ == "__main__":
    main()
