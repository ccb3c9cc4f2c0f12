# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between a test and its guest."""


class GuestGone(Exception):
    """The guest, or its end of a connection, has gone away while an answer was expected."""


class Timeout(Exception):
    """What was waited for did not happen in time."""


class Crashed(Exception):
    """A process in the guest died of a signal that dumps core."""


class CommandFailed(Exception):
    """A command in the guest ended with another exit status than 0."""
