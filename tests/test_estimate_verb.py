"""`ibjax estimate`: arrays from files, estimators by name, numbers, warnings and advice."""

import json
import math

import numpy as np
import pytest

from ibjax.core.errors import ConfigError, DataError
from ibjax.core.estimate import Estimate, Note
from ibjax.data import arrays
from ibjax.estimators.base import advice, catalogue, samples
from ibjax.main import main
from tests.helpers import ibjax


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """A folder of samples: a.npy and b.npy of rho = 0.8, labels, tables."""
  folder = tmp_path_factory.mktemp("arrays")
  rng = np.random.default_rng(0)
  x = rng.normal(size=(600, 1))
  y = 0.8 * x + 0.6 * rng.normal(size=x.shape)
  labels = (y[:, 0] > 0).astype(np.int64)
  np.save(folder / "a.npy", x)
  np.save(folder / "b.npy", y)
  np.save(folder / "labels.npy", labels)
  np.save(folder / "short.npy", y[:-1])
  np.save(folder / "objects.npy", np.array([{}], object), allow_pickle=True)
  np.savez(folder / "both.npz", x=x, y=y)
  np.savez(folder / "one.npz", only=x)
  (folder / "damaged.npy").write_bytes(b"no array")
  spoiled = y.copy()
  spoiled[7] = np.nan
  np.save(folder / "nan.npy", spoiled)
  lines = [f"{a:.6f},{b:.6f},{c}" for (a,), (b,), c in zip(x, y, labels)]
  (folder / "bare.csv").write_text("\n".join(lines) + "\n")
  (folder / "named.csv").write_text("height,weight,class\n" + "\n".join(lines) + "\n")
  words = [f"{a:.6f},{('no', 'yes')[c]}" for (a,), c in zip(x, labels)]
  (folder / "words.csv").write_text("height,answer\n" + "\n".join(words) + "\n")
  return folder


# Arrays.


@pytest.mark.parametrize(
  ("name", "like"),
  [
    ("a.npy", "a"),
    ("one.npz", "a"),
    ("both.npz:y", "b"),
    ("bare.csv:0", "a"),
    ("named.csv:height", "a"),
    ("named.csv:weight", "b"),
    ("named.csv:1", "b"),
    ("named.csv:class", "labels"),
    ("words.csv:answer", "labels"),
  ],
)
def test_arrays_are_read_from_every_kind_of_file(files, name, like):
  found, expected = arrays.read(str(files / name)), np.load(files / f"{like}.npy")
  assert found.dtype.kind == expected.dtype.kind
  np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-6)


def test_columns_are_chosen_by_name_number_and_range(files):
  whole = arrays.read(str(files / "bare.csv"))
  assert whole.shape == (600, 3) and whole.dtype == np.float64
  for part in ("0,1", "0-1", "height,weight", "height,1"):
    np.testing.assert_array_equal(arrays.read(f"{files}/named.csv:{part}"), whole[:, :2])


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("cat\ndog\ncat\n", [0, 1, 0]),  # classes without a header
    ("animal\ndog\ncat\ncat\n", [1, 0, 0]),  # with one
    ("1\n2\n1\n", [1, 2, 1]),
    ("1.0\n2\n1\n", [1.0, 2.0, 1.0]),
  ],
)
def test_a_single_column_is_classes_whole_numbers_or_numbers(tmp_path, text, expected):
  (tmp_path / "t.csv").write_text(text)
  found = arrays.read(str(tmp_path / "t.csv"))
  assert found.tolist() == expected and found.dtype == np.array(expected).dtype


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("a.txt", "expected a name ending in"),
    ("aa.npy", "Did you mean '.*a.npy'"),
    ("both.npz", "holds 2 arrays"),
    ("both.npz:z", "unknown array"),
    ("a.npy:0", "leave out ':0'"),
    ("objects.npy", "cannot be read"),
    ("damaged.npy", "cannot be read"),
    ("named.csv:heigt", "Did you mean 'height'"),
    ("bare.csv:3", "unknown column"),
    ("bare.csv:1-0", "chooses no column"),
    ("words.csv", "'yes|no' in row 2, column 1 is no number"),
  ],
)
def test_files_that_do_not_fit_are_explained(files, name, message):
  with pytest.raises(DataError, match=message):
    arrays.read(str(files / name))


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "is empty"),
    ("a,b\n", "a header and no rows"),
    ("1,2\n3\n", "row 2 has 1 cells"),
    ("a,b\n1,2\n3,\n", "row 3, column 1 is empty"),
  ],
)
def test_tables_that_do_not_fit_are_explained(tmp_path, text, message):
  (tmp_path / "t.csv").write_text(text)
  with pytest.raises(DataError, match=message):
    arrays.read(str(tmp_path / "t.csv"))


# Names.


def test_estimators_are_found_by_name_alias_and_hyperparameters():
  assert catalogue.name_of("infonce") == "info_nce"
  assert catalogue.name_of("KSG") == "ksg"
  assert all(catalogue.name_of(alias) == name for alias, name in catalogue.ALIASES.items())
  for text in ("ksg:k=10", "ksg(k=10)", " ksg:k = 10 "):
    assert catalogue.find(text)[0] == "ksg:k=10"
  label, estimator = catalogue.find("ksg")
  assert label == estimator.name == "ksg"


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("kgs", "Did you mean 'ksg'"),
    ("ksg:kk=3", "Did you mean 'k'"),
    ("ksg:k=many", "expected int"),
    ("ksg:10", "no hyperparameter"),
    ("ksg:k=0", "k is 0"),
    ("a+b", "names no estimator"),
  ],
)
def test_names_that_do_not_fit_are_explained(text, message):
  with pytest.raises(ConfigError, match=message):
    catalogue.find(text)


def test_what_is_recommended_fits_the_kinds_of_samples():
  rng = np.random.default_rng(0)
  real, labels = rng.normal(size=(100, 2)), rng.integers(0, 3, 100)
  for kinds, given in (
    ("real, real", (real, real)),
    ("real, real", (real, np.arange(100))),
    ("real, labels", (real, labels)),
    ("real, labels", (real, labels.astype(float))),
    ("labels, labels", (labels, labels)),
    ("conditional", (real, real, real)),
    ("x alone", (real,)),
  ):
    assert catalogue.recommended(*given) == list(catalogue.RECOMMENDED[kinds])
    for name in catalogue.RECOMMENDED[kinds]:  # and they take such samples
      samples.check(catalogue.find(name)[1], *given, *[None] * (3 - len(given)))
  with pytest.raises(ConfigError, match="exchange them"):
    catalogue.recommended(labels, real)


# Advice.


def made(nats, *codes, half=0.05, bound="neither", quantity="mutual_information", checks=True):
  diagnostics = {
    "estimator": "any",
    "quantity": quantity,
    "bound": bound,
    "interval": "delta, 95%" if half else "none: it is a toy",
    "warnings": tuple(Note(code, f"about {code}.") for code in codes),
    **({"checks": {"scale": (nats, nats)}} if checks else {}),
  }
  low, high = (nats - half, nats + half) if half else (math.nan, math.nan)
  return Estimate(nats, low, high, half / 2 if half else math.nan, 1000, diagnostics)


@pytest.mark.parametrize(
  ("estimates", "said", "unsaid"),
  [
    (dict(a=made(0.5)), ["Report a: 0.500 nats (95% interval 0.450 to 0.550)", "passed"], []),
    (dict(a=made(0.5, checks=False)), ["Report a", "not run"], ["passed"]),
    (dict(a=made(0.5, half=0)), ["without an interval"], []),
    (dict(a=made(0.5, "scale"), b=made(0.4)), ["Report b: 0.400"], ["a agrees"]),
    (dict(a=made(0.5, half=0), b=made(0.51)), ["Report b", "a agrees with it"], []),
    (dict(a=made(0.5, "few_samples"), b=made(0.9)), ["Report b", "range 0.500 to 0.900"], []),
    (dict(a=made(0.5, "few_samples")), ["Report a", "warns: few_samples"], []),
    (
      dict(a=made(0.5, "scale", "negative"), b=made(0.6, "scale")),
      ["report none", "least doubtful is b, 0.600", "Most frequent: scale"],
      ["Report"],
    ),
    (dict(a=made(0.5, bound="upper"), b=made(0.2, bound="lower")), ["Report b", "larger"], []),
    (dict(a=made(0.5), b=made(0.9, bound="lower")), ["bound of b is 0.900", "too low"], []),
    (dict(a=made(0.5), b=made(0.2, bound="upper")), ["bound of b is 0.200", "too high"], []),
    (
      dict(a=made(0.5), b=made(0.3, bound="lower"), c=made(0.9, bound="upper")),
      ["Report a", "above the lower bound of b and below the upper bound of c"],
      ["too"],
    ),
    (dict(a=made(0.02)), ["cannot be told from zero"], []),
    (dict(a=made(3.0, quantity="dependence")), ["nothing to report"], []),
    (dict(a=made(math.nan, "not_finite")), ["nothing to report"], []),
  ],
)
def test_advice_in_words(estimates, said, unsaid):
  text = advice.recommend(estimates)
  assert all(part in text for part in said), text
  assert not any(f" {part}" in text.replace("Report b", "") for part in unsaid), text


def test_advice_in_bits():
  assert "1.000 bits (95% interval" in advice.recommend(dict(a=made(math.log(2))), bits=True)


# The verb.


def estimate(capsys, files, *arguments):
  code = main(["estimate", *(a.format(f=files) for a in arguments)])
  shown = capsys.readouterr()
  return code, shown.out, shown.err


def test_a_table_of_estimates_and_a_recommendation(capsys, files):
  code, out, err = estimate(
    capsys, files, "--x={f}/a.npy", "--y={f}/b.npy", "--estimators=ksg,cca,ksg:k=10"
  )
  assert code == 0
  lines = out.splitlines()
  assert lines[0] == "600 samples; x: 1 column; y: 1 column"
  assert lines[2].split() == ["estimator", "nats", "interval", "bound", "warnings"]
  assert [line.split()[0] for line in lines[3:6]] == ["ksg", "gaussian", "ksg:k=10"]
  for line in lines[3:6]:
    assert abs(float(line.split()[1]) + 0.5 * math.log(1 - 0.64)) < 0.12
  assert lines[-1].startswith("Report ")
  assert "ksg: " in err  # the time


def test_json_has_exactly_the_stated_keys(files):
  done = ibjax(
    "estimate",
    f"--x={files}/a.npy",
    f"--y={files}/b.npy",
    "--estimators=ksg,gaussian",
    "--json",
    "--quick",
  )
  assert done.returncode == 0, done.stderr
  rows = json.loads(done.stdout)
  assert [row["estimator"] for row in rows] == ["ksg", "gaussian"]
  for row in rows:
    assert list(row) == ["estimator", "nats", "lower", "upper", "stderr", "n", "warnings"]
    assert row["n"] == 600 and isinstance(row["warnings"], list)
    assert abs(row["nats"] + 0.5 * math.log(1 - 0.64)) < 0.12


def test_bits_are_nats_over_ln_2(capsys, files):
  arguments = ("--x={f}/a.npy", "--y={f}/b.npy", "--estimators=gaussian", "--quick")
  _, nats, _ = estimate(capsys, files, *arguments)
  _, bits, _ = estimate(capsys, files, *arguments, "--bits")
  value = [float(text.splitlines()[3].split()[1]) for text in (nats, bits)]
  assert value[0] == pytest.approx(value[1] * math.log(2), abs=2e-4)
  assert "bits" in bits.splitlines()[2] and "bits" in bits.splitlines()[-1]


def test_what_one_estimator_refuses_does_not_stop_the_others(capsys, files):
  arguments = ("--x={f}/a.npy", "--y={f}/labels.npy", "--quick", "--estimators=ksg:k=599,ksg")
  code, out, _ = estimate(capsys, files, *arguments)
  assert code == 0 and "refused" not in out.splitlines()[4]
  code, out, _ = estimate(capsys, files, *arguments, "--json")
  refused, found = json.loads(out)
  assert found["nats"] > 0
  assert refused["nats"] is None or refused["warnings"]


def test_quick_takes_few_rows(capsys, tmp_path):
  x = np.random.default_rng(0).normal(size=(2500, 1))
  np.save(tmp_path / "x.npy", x)
  arguments = ("--x={f}/x.npy", "--y={f}/x.npy", "--estimators=gaussian", "--quick")
  code, out, _ = estimate(capsys, tmp_path, *arguments)
  assert code == 0 and out.startswith("2000 samples of 2500")


def test_images_are_flattened(capsys, tmp_path):
  np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(100, 2, 3)))
  arguments = ("--x={f}/x.npy", "--y={f}/x.npy", "--estimators=ksg", "--quick")
  assert estimate(capsys, tmp_path, *arguments)[1].startswith("100 samples; x: 6 columns")


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ([], "needs --x=FILE"),
    (["--x={f}/a.npy", "--y={f}/short.npy"], "x has 600 rows and y has 599"),
    (["--x={f}/a.npy", "--y={f}/nan.npy"], "y is not finite at row 7"),
    (["--x={f}/labels.npy", "--y={f}/a.npy"], "exchange them"),
    (["--x={f}/a.npy", "--y={f}/b.npy", "--estimators=kgs"], "Did you mean 'ksg'"),
    (["--x={f}/a.npy", "--y={f}/b.npy", "--estimators="], "names no estimator"),
    (["--x={f}/a.npy", "--estimators=ksg,gaussian"], "needs y"),
    (["--x={f}/a.npy", "--yy={f}/b.npy"], "Did you mean '--y'"),
    (["--x={f}/a.npy", "--y={f}/b.npy", "--seed=-1"], "seed"),
    (["{f}/a.npy"], "takes flags only"),
  ],
)
def test_mistakes_are_named(capsys, files, arguments, message):
  code, out, err = estimate(capsys, files, *arguments)
  assert code == 2 and out == ""
  assert message in err and "Traceback" not in err


def test_list_shows_estimators_with_quantity_and_bound(capsys):
  assert main(["list", "estimators"]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 1 + len(catalogue.factories())
  (bound,) = (line for line in lines if ".info_nce:info_nce" in line)
  assert "[mutual information, lower bound]" in bound
