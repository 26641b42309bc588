"""`ibjax features`: what each latent of a trained dictionary answers to, on the run's page."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from ibjax.core.errors import ConfigError
from ibjax.report.features import write
from ibjax.report.page import write_page
from ibjax.train.features import features
from ibjax.verbs.flags import given, parse, wants_help


def run(argv: Sequence[str]) -> int:
  """Describes the latents of a run and writes its page anew; prints the page's path.

  Args:
    argv: the arguments after the verb: the folder of a run that trained a dictionary, flags.

  Returns:
    0.

  Raises:
    IbjaxError: no run, no dictionary in it, or the model that its activations are of is gone.
  """
  values = flags.FlagValues()
  flags.DEFINE_string("split", "test", "Split whose rows are looked at.", flag_values=values)
  flags.DEFINE_integer("examples", 20_000, "Rows looked at; 0 takes all.", flag_values=values)
  flags.DEFINE_integer("top", 8, "Examples shown of each latent.", flag_values=values)
  flags.DEFINE_integer("most", 512, "Latents described, the densest.", flag_values=values)
  flags.DEFINE_string("data_dir", None, "Where prepared data sets live.", flag_values=values)
  if wants_help("features FOLDER", values, argv, config=False):
    return 0
  places = parse(values, "features", argv)
  options = given(values)
  if len(places) != 1:
    raise ConfigError("`ibjax features` needs one folder: that of a run that trained a dictionary.")
  names = ("split", "examples", "top", "most", "data_dir")
  described = features(places[0], **{name: options[name] for name in names})
  write(places[0], described)
  print(f"{write_page(places[0])}  ({len(described['features'])} latents)")
  return 0
