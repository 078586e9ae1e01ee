"""Writes requirements.lock: what greenboost's dependencies resolve to, at versions that the .deb is built with.

Run by `make deb-lock`, for /usr/bin/python3, with the index that pip is set to.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LOCK = Path(__file__).with_name("requirements.lock")

LEFT_OUT = {
    "cuda-python": "brings the parts of NVIDIA's binding together; greenboost uses cuda-bindings",
    "cuda-core": "greenboost uses cuda-bindings; 18 MB",
    "tqdm": "for gguf's own commands",
    "requests": "gguf loads it to read files from the network",
    "urllib3": "as requests",
    "certifi": "as requests",
    "charset-normalizer": "as requests",
    "idna": "as requests",
}
"""What nothing in greenboost loads, with the reason."""


def resolved(python: str, wanted: list[str]) -> dict[str, str]:
    """Each distribution that the wanted ones need, with the version that pip takes for an interpreter."""
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
    options = ["--dry-run", "--ignore-installed", "--only-binary=:all:", "--report=-"]
    done = subprocess.run([*pip, *options, *wanted], stdout=subprocess.PIPE, check=True)
    found = (one["metadata"] for one in json.loads(done.stdout)["install"])
    return {one["name"].lower().replace("_", "-"): one["version"] for one in found}


def main() -> None:
    """Writes the lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = resolved("/usr/bin/python3", project["dependencies"])
    lines = ['# The dependencies that the .deb brings along. Written by "make deb-lock".']
    lines += [f"{name}=={version}" for name, version in sorted(found.items()) if name not in LEFT_OUT]
    lines += ["", "# Left out:", *(f"# {name}: {why}" for name, why in LEFT_OUT.items() if name in found)]
    LOCK.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
