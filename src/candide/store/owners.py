"""Who owns turns: one owner a process, known to be dead as soon as it is.

An owner holds a lock on a file of its own as long as it lives; the kernel lets go of it at the very
moment of a `kill -9`. On the same machine nobody need wait for a lease to end. Of owners elsewhere
nothing is known here, and their leases speak.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from candide.domain.ids import new_id
from candide.errors import StoreError


def is_let_go(path: Path) -> bool:
    """Whether nobody holds the lock on a file any more. Raises OSError when there is no telling."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Shared: others may ask at the same time.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


class Owner:
    def __init__(self, run_dir: Path) -> None:
        self.id = new_id("owner")
        self._folder = run_dir / "owners"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._folder / self.id, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"the folder '{self._folder}' cannot be written: {error.strerror}",
                hint="check its rights, or choose another with CANDIDE_HOME",
            ) from error
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._sweep()

    def is_dead(self, owner: str) -> bool:
        """Whether an owner of this machine has died; False when it lives or is not known here."""
        if owner == self.id:
            return False
        try:
            return is_let_go(self._folder / owner)
        except OSError:
            return False

    def close(self) -> None:
        # The file stays: whoever asks about this owner's turns learns from it that it has gone.
        os.close(self._file)

    def _sweep(self) -> None:
        """Forget the owners that have been dead for long; the newest dead may still own turns."""
        for path in sorted(self._folder.iterdir())[:-32]:
            if self.is_dead(path.name):
                path.unlink(missing_ok=True)
