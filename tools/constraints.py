"""Print what this environment has of Tollgate's own requirements, all the way down: `constraints.txt`.

`--check` compares instead, so that a requirement cannot be added without pinning what it brings.
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
HEADING = "# Every package of tollgate[embedded,sandbox,dev], pinned. Written by tools/constraints.py.\n"


def own_requirements() -> list[Requirement]:
    """What `pyproject.toml` asks for, with every extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return [Requirement(line) for line in lines]


def closure(requirements: list[Requirement]) -> dict[str, str]:
    """Canonical name to installed version, of everything that these need here, all the way down."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in {"", *requirement.extras}:
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            try:
                installed = distribution(name)
            except PackageNotFoundError:
                raise SystemExit(f"{name} is not installed; run: pip install -c constraints.txt -e '.[embedded,sandbox,dev]'") from None
            found[name] = installed.version
            waiting.extend((Requirement(line), wanted) for line in installed.requires or ())
    return found


def main(arguments: list[str]) -> int:
    """Print the file, or with `--check` say whether it is up to date."""
    text = HEADING + "".join(f"{name}=={version}\n" for name, version in sorted(closure(own_requirements()).items()))
    if arguments != ["--check"]:
        print(text, end="")
        return 0
    if (ROOT / "constraints.txt").read_text() == text:
        return 0
    print("constraints.txt is not what is installed; run: python tools/constraints.py > constraints.txt", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
