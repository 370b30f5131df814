"""Check a bundle: its files are as they were written, and its models answer as they did at export."""

from __future__ import annotations

from mlstack.bundle.answers import AnswerCheck, check_answers
from mlstack.bundle.folder import Bundle, find_bundle, read_bundle
from mlstack.config.export import VerifyBundleConfig
from mlstack.errors import BundleError
from mlstack.reports.tables import table
from mlstack.utils.console import say


def verify_bundle(config: VerifyBundleConfig) -> None:
    """Read a bundle, run its golden pictures through each model file, and print what came out.

    Raises:
        BundleError: A file is missing, changed or unknown, the schema is another one, or a model answers differently.
        MissingPackageError: onnxruntime is not installed.
    """
    bundle = read_bundle(find_bundle(config.bundle, output_dir=config.output_dir))
    checks = check_answers(bundle)
    say(f"{_facts(bundle)}\n")
    rows = [_row(check) for check in checks]
    say(table(["model", "precision", "size", "difference", "allowed", "same answer"], rows))
    wrong = [check.model.file for check in checks if not check.passed]
    if wrong:
        raise BundleError(
            f"{bundle.path / wrong[0]} does not answer as it did at export (difference above)",
            hint="8 bits round as the processor does: export the bundle again on a machine like this one",
        )
    say(f"\nverified: {bundle.path}")


def _facts(bundle: Bundle) -> str:
    metadata, files = bundle.metadata, bundle.metadata.files
    size = sum(facts.bytes for facts in files.values())
    return (
        f"bundle      {bundle.path}\n"
        f"model       {metadata.name}, version {metadata.version}, made {metadata.created_at}\n"
        f"schema      version {metadata.schema_version}\n"
        f"files       {len(files)}, {_megabytes(size)}, sha256 of each as it was written"
    )


def _row(check: AnswerCheck) -> list[str]:
    same = "–" if check.same is None else f"{check.same} of {check.pictures}"
    size = _megabytes(check.model.bytes)
    return [check.model.file, check.model.precision, size, f"{check.error:.1e}", f"{check.allowed:.1e}", same]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
