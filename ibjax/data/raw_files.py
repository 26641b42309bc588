"""The raw files that a TFDS set is made of: taken from a folder, or from a host that answers."""

from __future__ import annotations

import pathlib
import urllib.parse
from collections.abc import Iterable
from typing import Any

from ibjax.core.errors import DataError
from ibjax.data import fingerprint

HINT = (
  "Without a network, copy the raw files into a folder DIR, under the names their URLs end with, "
  "and run the command again with --from DIR."
)


def manager(
  builder: Any, from_dir: pathlib.Path, extract_dir: str, notes: list[str], repacked: bool = False
) -> Any:
  """Makes a TFDS download manager that fetches nothing and takes files of a folder instead.

  Args:
    builder: the TFDS builder that will ask it for URLs.
    from_dir: the folder of raw files.
    extract_dir: where TFDS extracts archives.
    notes: gets one line for each file that was not verified.
    repacked: take files of another sha256 too, with a note.

  Returns:
    A `tfds.download.DownloadManager` whose methods raise DataError when a file is missing or
    is not the one whose sha256 is registered.
  """
  import tensorflow_datasets as tfds
  import tree
  from etils import epath

  class Folder(tfds.download.DownloadManager):
    """Hands out files of from_dir; extraction stays TFDS's own."""

    def download(self, url_or_urls):
      taken = self._take(url_or_urls)
      return tree.map_structure(lambda item: epath.Path(taken[_url(item)]), url_or_urls)

    def download_and_extract(self, url_or_urls):
      taken = self._take(url_or_urls)

      def resource(item):
        # The method asked for, if any; else TFDS guesses it from the file's name.
        method = getattr(item, "_extract_method", None)
        return tfds.download.Resource(path=taken[_url(item)], extract_method=method)

      return self.extract(tree.map_structure(resource, url_or_urls))

    def _take(self, url_or_urls) -> dict[str, pathlib.Path]:
      urls = [_url(item) for item in tree.flatten(url_or_urls)]
      taken = find(urls, from_dir)
      for url, path in taken.items():
        registered = self._url_infos.get(url)
        if registered is None:
          notes.append(f"{path.name}: TFDS has no sha256 registered for it; it was not verified.")
        elif repacked and (found := fingerprint.of_file(path)) != registered.checksum:
          notes.append(f"{path.name}: taken as it is, with sha256 {found} (another is registered).")
        else:
          verify(path, registered.checksum)
      return taken

  return Folder(
    download_dir=pathlib.Path(extract_dir) / "downloads",
    extract_dir=extract_dir,
    manual_dir=from_dir,
    manual_dir_instructions=builder.MANUAL_DOWNLOAD_INSTRUCTIONS,
    url_infos=builder.url_infos,
    dataset_name=builder.name,
  )


def find(urls: Iterable[str], from_dir: pathlib.Path) -> dict[str, pathlib.Path]:
  """Finds the file of each URL in a folder, by the name that the URL ends with.

  Args:
    urls: what would be fetched.
    from_dir: a folder.

  Returns:
    URL -> path.

  Raises:
    DataError: some are not there; names those wanted and those found.
  """
  wanted = {url: _name(url) for url in urls}
  missing = sorted({name for name in wanted.values() if not (from_dir / name).is_file()})
  if missing:
    found = sorted(path.name for path in from_dir.iterdir() if path.is_file())
    shown = ", ".join(found[:20]) + (", ..." if len(found) > 20 else "")
    raise DataError(
      f"{from_dir} lacks {', '.join(missing)}. Wanted: {', '.join(sorted(wanted.values()))}. "
      f"Found: {shown or 'no files'}. Copy the missing ones there under these names."
    )
  return {url: from_dir / name for url, name in wanted.items()}


def verify(path: pathlib.Path, expected: str) -> None:
  """Raises DataError unless the file's sha256 is the one expected (64 hex digits).

  Args:
    path: the file.
    expected: the registered sha256, 64 hex digits.

  Raises:
    DataError: the hashes differ; gives both.
  """
  found = fingerprint.of_file(path)
  if found != expected:
    raise DataError(
      f"{path} ({path.stat().st_size} bytes) has sha256 {found}, but TFDS has registered "
      f"{expected}. It is damaged, or packed anew (the hash is of the packed file): take the "
      "file as its own host serves it, or pass --accept_repacked if you trust it."
    )


def check_reachable(spec: str, urls: Iterable[str]) -> None:
  """Asks each host once, so that a machine without a network is told so in seconds.

  TFDS itself asks ten times, for minutes, before it gives up.

  Args:
    spec: the set, for messages.
    urls: what would be fetched.

  Raises:
    DataError: a host does not answer.
  """
  import requests

  by_host = {urllib.parse.urlsplit(url).hostname: url for url in urls if url.startswith("http")}
  for host, url in sorted(by_host.items()):
    try:
      requests.head(url, timeout=10)
    except requests.RequestException as error:
      raise DataError(
        f"preparing '{spec}' fetches from {host}, which could not be reached "
        f"({type(error).__name__}). {HINT}"
      ) from error


def _url(item: Any) -> str:
  return item if isinstance(item, str) else item.url


def _name(url: str) -> str:
  return pathlib.PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
