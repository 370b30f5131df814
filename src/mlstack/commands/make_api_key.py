"""Make an API key: print it once, keep its hash."""

from __future__ import annotations

from pathlib import Path

from mlstack.config.api_keys import MakeApiKeyConfig
from mlstack.serving.keys import add_key


def make_api_key(config: MakeApiKeyConfig) -> None:
    """Append the hash of a new key to `config.file` and print the key, the only time that it is to be seen.

    Raises:
        ConfigError: The name is taken or is no plain one, or the file holds something else than keys.
        OutputError: The file can't be written.
    """
    path = Path(config.file).expanduser()
    key = add_key(path, config.name, admin=config.admin)
    print(f"key    {key}")
    print(f"name   {config.name}{', an administrator' if config.admin else ''}")
    print(f"file   {path} holds its hash; the key is stored nowhere: copy it now")
    print(f"next   python scripts/serve.py serve.api_keys_file={path}")
    print("       curl -H 'authorization: Bearer KEY' -F file=@cat.jpg http://127.0.0.1:8000/predict_image")
