"""Reports: the final row, pictures and one HTML page, made from the files of a run folder.

This room reads files only and never imports jax, so a report can be made on any machine that
holds the folder, while the run is still going or long after.

Example:
  >>> import pathlib, tempfile
  >>> from ibjax.report import runs
  >>> folder = pathlib.Path(tempfile.mkdtemp())
  >>> _ = (folder / "manifest.json").write_text('{"config": {"seed": 0}}')
  >>> runs.read_run(folder).finished
  False
"""
