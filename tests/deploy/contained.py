"""Runs a command in the folder of an image as a container would: `contained.py FOLDER NAME=value … -- command`.

The file system is read-only except `/tmp`, the user is 10001, without capabilities and without a way to get any.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

CLONE_NEWNS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 0x20000, 24, 38
USER = 10001
MOUNTS = (
    "mount --make-rprivate /",
    "mount --bind {0} {0}",
    "mount -o remount,ro,bind {0}",
    "mount -t tmpfs -o mode=1777 tmpfs {0}/tmp",
    "mount -t proc proc {0}/proc",
    "mount --bind /dev {0}/dev",
)


def main(folder: str, *arguments: str) -> None:
    separator = arguments.index("--")
    variables = dict(argument.split("=", 1) for argument in arguments[:separator])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        sys.exit(f"No mounts of its own: {os.strerror(ctypes.get_errno())}")
    for mount in MOUNTS:
        subprocess.run(mount.format(folder).split(), check=True)
    os.chroot(folder)
    os.chdir("/app")
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    command = arguments[separator + 1 :]
    os.execvpe(command[0], command, variables)  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    assert Path(sys.argv[1]).is_dir()
    main(*sys.argv[1:])
