"""Check a bundle: its files as they were written, a known schema, and the answers of its export.

    python scripts/verify_bundle.py bundle=latest
    python scripts/verify_bundle.py bundle=models/cats

Exit status 0 = it is whole; 2 = one line says which file is not.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.export import VerifyBundleConfig

    run("mlstack.commands.verify_bundle:verify_bundle", VerifyBundleConfig, config_name="verify_bundle", usage=__doc__)
