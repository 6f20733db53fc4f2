"""Fetching the source packages: npm's by lock file, Debian's by name; both unpacked below the work
folder.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

_NPM_MANIFEST = Path(__file__).parent / "packages"
_DEBIAN = ("openclipart-svg", "dataset-fashion-mnist")


@dataclass(frozen=True)
class Origin:
    """Where an image is from."""

    source: str
    version: str
    licence: str


@dataclass(frozen=True)
class Sources:
    """Where the unpacked packages lie."""

    root: Path

    @property
    def npm(self) -> Path:
        return self.root / "node_modules"

    @property
    def clipart(self) -> Path:
        return self.root / "debian/usr/share/openclipart/svg"

    @property
    def fashion_mnist(self) -> Path:
        return self.root / "debian/usr/share/datasets/fashion-mnist"

    def icon_set(self, name: str) -> Origin:
        """Version and licence of an icon set, as its package states them."""
        folder = self.npm / "@iconify-json" / name
        info, package = (
            json.loads((folder / file).read_text()) for file in ("info.json", "package.json")
        )
        return Origin(name, package["version"], info["license"]["spdx"])

    def debian(self, package: str, licence: str) -> Origin:
        """Version of a Debian package; its licence is in prose, so the caller has read it."""
        archive = next(self.root.glob(f"{package}_*.deb"))
        return Origin(package, unquote(archive.name.split("_")[1]), licence)

    def fetch(self) -> None:
        """Download what is not there yet; needs npm, apt-get and dpkg on the machine."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.npm.exists():
            for name in ("package.json", "package-lock.json", ".npmrc"):
                (self.root / name).write_bytes((_NPM_MANIFEST / name).read_bytes())
            subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=self.root,
                check=True,
            )
        if not self.clipart.exists() or not self.fashion_mnist.exists():
            subprocess.run(["apt-get", "download", *_DEBIAN], cwd=self.root, check=True)
            for package in sorted(self.root.glob("*.deb")):
                subprocess.run(["dpkg", "-x", package.name, "debian"], cwd=self.root, check=True)
