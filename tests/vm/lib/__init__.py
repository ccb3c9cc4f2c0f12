# SPDX-License-Identifier: Apache-2.0
"""Harness of the VM tests: starts guests with vm-images/run, talks to them, searches their disks."""

from .channel import Channel, Result
from .disks import count_patterns, disk_hash
from .errors import CommandFailed, Crashed, GuestGone, Timeout
from .qmp import Event, Qmp
from .vm import VM, Off

__all__ = [
    "Channel", "CommandFailed", "Crashed", "Event", "GuestGone", "Off", "Qmp", "Result", "Timeout", "VM",
    "count_patterns", "disk_hash",
]
