"""Turn a bundle, or several, into an HTTP service: predictions, metrics, A/B, canary, drift, and a page to try it.

    python scripts/serve.py bundle=latest
    python scripts/serve.py bundle=models/ serve.port=8000 serve.api_keys_file=keys.txt
    python scripts/serve.py 'bundle=[a,b]' 'serve.split={a:90,b:10}'
    python scripts/serve.py 'bundle=[a,b]' serve.canary=b

Ready in about a second: http://127.0.0.1:8000 is the page, /docs the description. Ctrl-C or SIGTERM ends it once
everything that was accepted is answered.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.serving import ServeConfig

    run("mlstack.commands.serve:serve", ServeConfig, config_name="serve", usage=__doc__)
