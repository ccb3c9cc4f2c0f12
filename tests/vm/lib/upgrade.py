# SPDX-License-Identifier: Apache-2.0
"""Packages for a running guest: emberlock-agent under other versions, and needrestart as Debian has it."""

import re
import subprocess
from pathlib import Path

from .vm import PROJECT, VM

PACKAGES = PROJECT / "build" / "packages"
# needrestart, and what it needs that the image lacks.
NEEDRESTART = ("needrestart", "gettext-base", "libintl-perl", "libmodule-find-perl", "libproc-processtable-perl",
               "libsort-naturally-perl", "libterm-readkey-perl")


def repack(work: Path, version: str, protocol: int | None = None) -> Path:
    """The package emberlock-agent as @version, in @work; with @protocol as if its agent spoke that one."""
    [package] = PACKAGES.glob("emberlock-agent_*.deb")
    root, made = work / version, work / f"emberlock-agent_{version}.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, root], check=True)
    control, preinst = root / "DEBIAN" / "control", root / "DEBIAN" / "preinst"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    if protocol is not None:
        changed, n = re.subn(r"(?m)^protocol=\d+$", f"protocol={protocol}", preinst.read_text())
        assert n == 1, preinst
        preinst.write_text(changed)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", root, made], check=True, stdout=subprocess.DEVNULL)
    return made


def install_needrestart(vm: VM, work: Path) -> None:
    """Unpacked over the guest's root; nothing is configured."""
    subprocess.run(["apt-get", "--quiet=2", "-o", "APT::Sandbox::User=root", "download", *NEEDRESTART], cwd=work, check=True)
    for package in sorted(work.glob("*.deb")):
        vm.run("dpkg-deb --fsys-tarfile /dev/stdin | tar -C / --keep-directory-symlink -xf -", stdin=package.read_bytes())
