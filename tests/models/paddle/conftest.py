from __future__ import annotations

import mlstack.models.paddle  # noqa: F401  before any test imports paddle: this imports it quietly
