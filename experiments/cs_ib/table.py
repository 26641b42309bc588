"""What is shown: each method at the beta that validation data choose, and all of them over beta."""

SETS = {
  "california": ("California Housing", "log of 100,000 dollars", 3),
  "beijing": ("Beijing PM2.5", "µg/m³", 1),
  "bike": ("Bike Sharing", "log of the count", 3),
  "energy": ("Energy efficiency of buildings", "kWh/m²", 2),
  "airfoil": ("Airfoil self-noise", "dB", 2),
  "rotation": ("Rotated MNIST", "degrees", 2),
}
METHODS = {
  "vib": "VIB",
  "nib": "NIB",
  "hsic": "HSIC",
  "renyi": "matrix Rényi",
  "cs": "CS-IB",
}
BETAS = {
  "vib": (1e-3, 1e-2),
  "nib": (1e-2, 1e-1),
  "hsic": (1e-1, 1.0),
  "renyi": (1e-1, 1.0),
  "cs": (1e-2, 1e-1),
}
BY = "validation/mse"


def columns(unit, digits):
  """Errors in the unit of the set, and what the code keeps of the input."""
  keys = {
    "errors/test_rmse": "RMSE",
    "attacks/fgsm_0.1_rmse": "FGSM 0.1",
    "attacks/pgd_0.1_rmse": "PGD 0.1",
    "attacks/pgd_0.3_rmse": "PGD 0.3",
  }
  errors = (
    dict(key=key, header=header, unit=unit, digits=digits, lower_is_better=True)
    for key, header in keys.items()
  )
  return (*errors, dict(key="code/qmi_ratio", header="I_CS(x;z) ratio", digits=3))


def chosen(name):
  """MSE, which has no beta, and every bottleneck at the beta of least validation error."""
  yield dict(label="MSE", cell=f"{name}/mse")
  for method, label in METHODS.items():
    yield dict(label=label, best=(f"{name}/{method}/*",), by=BY)


TABLES = tuple(
  table
  for name, (title, unit, digits) in SETS.items()
  for table in (
    dict(
      name=name,
      title=f"{title}: errors and compression",
      columns=columns(unit, digits),
      rows=tuple(chosen(name)),
    ),
    dict(
      name=f"{name}_betas",
      title=f"{title}: over beta",
      columns=columns(unit, digits),
      rows=(
        dict(label="MSE", cell=f"{name}/mse"),
        *(
          dict(label=f"{label}, beta = {beta:g}", cell=f"{name}/{method}/beta={beta:g}")
          for method, label in METHODS.items()
          for beta in BETAS[method]
        ),
      ),
    ),
  )
)

FIGURES = tuple(
  dict(
    name=name,
    title=f"{title}: errors against what the code keeps",
    x=dict(key="code/qmi_ratio", label="I_CS(x;z), share of its largest"),
    y=(
      dict(key="errors/test_rmse", label=f"test RMSE, {unit}"),
      dict(key="attacks/pgd_0.1_rmse", label=f"RMSE under PGD 0.1, {unit}"),
    ),
    series=(
      dict(label="MSE", cells=(f"{name}/mse",)),
      *(dict(label=label, cells=(f"{name}/{method}/*",)) for method, label in METHODS.items()),
    ),
  )
  for name, (title, unit, _) in SETS.items()
)
