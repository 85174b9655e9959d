"""Write build/sbom.json: what an installation of flashd consists of, as CycloneDX, from the lock with its hashes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parent / "build" / "sbom.json"


def main(lock: str = "demo") -> None:
    """Write the bill of that lock."""
    TARGET.parent.mkdir(exist_ok=True)
    command = [str(Path(sys.executable).parent / "cyclonedx-py"), "requirements", str(HERE / f"{lock}.txt")]
    command += ["--pyproject", str(HERE.parent / "pyproject.toml"), "--output-reproducible", "--output-format", "JSON"]
    subprocess.run([*command, "--output-file", str(TARGET)], check=True)  # noqa: S603  # our own words
    bill = json.loads(TARGET.read_bytes())
    print(f"{TARGET}: CycloneDX {bill['specVersion']}, {len(bill['components'])} components")


if __name__ == "__main__":
    main(*sys.argv[1:])
