#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command with a /dev/log of its own and prints what it sends there, without the time. Needs its own mount namespace: unshare -m."""
import os
import re
import socket
import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory() as directory:
    for name in ("null", "random", "urandom"):
        open(os.path.join(directory, name), "w").close()
        subprocess.run(["mount", "--bind", "/dev/" + name, os.path.join(directory, name)], check=True)
    subprocess.run(["mount", "--rbind", directory, "/dev"], check=True)
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    log.bind("/dev/log")
    log.settimeout(5)
    command = subprocess.Popen(sys.argv[1:])
    while True:
        try:
            line = log.recv(65536).decode()
        except TimeoutError:
            break
        print(re.sub(r"^(<[0-9]+>)\w{3} [ 0-9]\d [0-9:]{8} ", r"\1", line))
        if command.poll() is not None:
            log.settimeout(0.1)
    status = command.wait()
    for name in ("", "null", "random", "urandom"):
        subprocess.run(["umount", "-l", os.path.join("/dev" if not name else directory, name)], check=True)
sys.exit(status)
