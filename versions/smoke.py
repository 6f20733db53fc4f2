"""Run by the Python under test, where no source of purescope lies: every public name, and the
README's example.

    python -I versions/smoke.py

Only the standard library and purescope are imported.
"""

import ast
import importlib.resources

import purescope as ps


def public_names() -> list[str]:
    """Read the names that the package's stub lists."""
    stub = importlib.resources.files(ps).joinpath("__init__.pyi").read_text(encoding="utf-8")
    imports = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
    return [alias.name for node in imports for alias in node.names]


def main() -> None:
    """Resolve the names and sweep; whatever is wrong ends the process with a traceback."""
    names = public_names()
    wrong = [name for name in names if not callable(getattr(ps, name))]
    if wrong or sorted(names) != sorted(dir(ps)):
        raise SystemExit(
            f"public names that are modules or missing: {wrong}, "
            f"{sorted(set(names) ^ set(dir(ps)))}"
        )
    model = ps.load_model("bundled:laclip")
    purity = ps.purity(model.projections.image)
    features = ps.extract(model, ps.load_dataset("bundled:flags"))
    table = ps.sweep(features, model.projections, keep=[256], draws=2)
    print(f"{len(names)} public names, {len(purity)} neurons, {len(table)} rows")


if __name__ == "__main__":
    main()
