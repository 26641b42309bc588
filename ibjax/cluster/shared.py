"""What processes do in a folder they share, over NFS too: whole files, names only one gets."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

from ibjax.core.errors import WorkdirError

_NO_LINKS = " This file system has no hard links, by which claims are made; use another folder."
_FULL = " Free some space and run the same command again; nothing is lost."
_ADVICE = {
  **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
  **dict.fromkeys((errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS), _NO_LINKS),
}


def create(path: pathlib.Path, content: bytes) -> None:
  """Makes a file that was not there, and puts it on disk.

  Args:
    path: its name, which no other process uses.
    content: all of it.

  Raises:
    OSError: it cannot be written (a full disk, say); nothing of it is left.
  """
  try:
    with open(path, "xb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
  except OSError:
    path.unlink(missing_ok=True)
    raise


def link(own: pathlib.Path, name: pathlib.Path) -> bool:
  """Gives a file a second name, unless there is such a name.

  Args:
    own: a file of this process alone.
    name: the name wanted, in the same folder.

  Returns:
    Whether the name is this process's: of several that ask for it one gets True.

  Raises:
    OSError: it cannot be made (a full disk, no hard links, `own` is gone).
  """
  try:
    os.link(own, name)
  except FileExistsError:
    # Ours all the same, when the request was sent again because its reply was lost.
    try:
      return os.path.samefile(own, name)
    except FileNotFoundError:
      return False
  return True


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
  """Turns errors of the file system into ones that say what was done and what to do.

  Args:
    what: begins the message, e.g. "cannot make the claim ...".

  Returns:
    A context.

  Raises:
    WorkdirError: in place of any OSError inside.
  """
  try:
    yield
  except WorkdirError:
    raise
  except OSError as error:
    advice = _ADVICE.get(error.errno or 0, "")
    raise WorkdirError(f"{what}: {error.strerror or error}.{advice}") from error
