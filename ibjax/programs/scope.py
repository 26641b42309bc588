"""The batch scope: which examples a coupled objective sees together.

Over the whole batch (`config.batch_scope="global"`) the devices exchange codes, and the value is
that of one device. Per device ("device") the objective is evaluated on each device's part of the
batch, no two examples of different parts meet, and the parts' values are averaged. These are two
objectives: InfoNCE of a batch of 32 is not the mean of InfoNCE of eight batches of 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from ibjax.core import rng
from ibjax.core.resolver import bind
from ibjax.core.types import Objective, Outputs, Term, Terms, Tree

Array = jax.Array
AXIS = "data"


def scoped(config: Mapping[str, Any], mesh: Any) -> Mapping[str, Any]:
  """Returns the config that a program is built from: its objective is of the batch scope.

  Args:
    config: the resolved config.
    mesh: the device mesh.

  Returns:
    The config itself for the global scope, for an objective that does not couple examples and for
    a single part; else one that names `per_part` around the objective.
  """
  if config.get("batch_scope", "global") == "global" or mesh.shape[AXIS] == 1:
    return config
  section = dict(config["objective"])
  wrapped = {
    **section,
    **{"fn": f"{__name__}:per_part", "of": section["fn"], "parts": mesh.shape[AXIS], "mesh": mesh},
  }
  return {**config, "objective": wrapped}


def per_part(of: str, parts: int, mesh: Any = None, **hyper: Any) -> Objective:
  """Evaluates an objective on each part of the batch by itself, and averages.

  Formula: value = sum_p n_p value_p / sum_p n_p, n_p the rows of part p that count. Part p is the
  p-th block of examples, in all their views, which is what device p of the data axis holds. Its
  key is the stream ("part", p) of the objective's. Values [n] stay where they are; scalars, and
  the floats of the new state, are averaged by the formula; what is not a float in the state (a
  count of updates) is the first part's.

  The example is InfoNCE of 32 examples, 2.937 nats among all 63 candidates, and 1.032 among the 7
  of each of eight parts: a smaller value of an easier question, not a better code. The bound on
  the views' information falls with it, from 1.176 to 0.732 nats.

  Args:
    of: the objective's factory, "module:factory".
    parts: how many there are; they divide the batch.
    mesh: the device mesh, with as many devices on its data axis; None evaluates the parts on one
      device.
    **hyper: the objective's own keywords; may be traced.

  Returns:
    The objective itself when it does not couple examples; else an `Objective` of the same terms.

  Raises:
    ConfigError: as `bind` of the objective.

  Example:
    >>> import jax, jax.numpy as jnp, numpy as np
    >>> from ibjax.core.types import Code, ObjectiveSpec, Outputs
    >>> from ibjax.programs.scope import per_part
    >>> view, noise = np.random.default_rng(0).normal(size=(2, 32, 4))
    >>> z = jnp.concatenate([view, view + 0.5 * noise])
    >>> outputs = Outputs(Code(z, None, None, {}), jnp.zeros((64, 2)), views=2)
    >>> batch = {"y": jnp.zeros(64, int), "mask": jnp.ones(64, bool)}
    >>> def contrast(parts):
    ...   objective = per_part("ibjax.objectives.representation.info_nce:info_nce", parts=parts)
    ...   params, state = objective.init(None, ObjectiveSpec(jnp.full(2, 0.5), 4))
    ...   terms = objective.loss(params, state, outputs, batch, jax.random.key(0), 0)
    ...   return round(float(terms.losses["contrast_nats"].value), 3)
    >>> contrast(parts=1), contrast(parts=8)
    (2.937, 1.032)
  """
  objective = bind({"fn": of, **hyper})
  if not objective.couples or parts == 1:
    return objective
  # What a part's loss is made of is handed in to it: it may not close over what is traced.
  settings, made = jax.tree.flatten(hyper)
  is_traced = [isinstance(value, jax.Array) for value in settings]

  def loss(params, state, outputs, batch, key, step) -> Terms:
    rows, views = batch["mask"].shape[0], outputs.views
    leaves, structure = jax.tree.flatten(
      (outputs.code, outputs.prediction, outputs.parameter_kl, dict(batch))
    )
    is_row = [leaf.shape[:1] == (rows,) for leaf in leaves]
    minimax: dict[str, bool] = {}

    def one(number, split, whole, traced, params, state, key, step):
      own = [leaf.reshape(-1, *leaf.shape[2:]) for leaf in split]
      merged = jax.tree.unflatten(structure, _merge(is_row, own, whole))
      code, prediction, parameter_kl, here = merged
      fixed = [value for value, mine in zip(settings, is_traced) if not mine]
      arguments = jax.tree.unflatten(made, _merge(is_traced, traced, fixed))
      terms = bind({"fn": of, **arguments}).loss(
        *(params, state, Outputs(code, prediction, parameter_kl, views), here),
        *(rng.stream(key, "part", number[0]), step),
      )
      minimax.update({name: term.minimax for name, term in terms.losses.items()})
      values = {("loss", name): jnp.asarray(term.value) for name, term in terms.losses.items()}
      values |= {("metric", name): jnp.asarray(value) for name, value in terms.metrics.items()}
      weights = {name: term.weight for name, term in terms.losses.items()}
      return {
        "rows": {n: v.reshape(views, -1) for n, v in values.items() if v.ndim},
        "scalars": {n: v[None] for n, v in values.items() if not v.ndim},
        "same": jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (weights, terms.state)),
      }

    split = [x.reshape(views, -1, *x.shape[1:]) for x, mine in zip(leaves, is_row) if mine]
    whole = [leaf for leaf, mine in zip(leaves, is_row) if not mine]
    traced = [value for value, mine in zip(settings, is_traced) if mine]
    shared = (whole, traced, params, state, key, jnp.asarray(step))
    found = _over_parts(one, parts, mesh)(jnp.arange(parts), split, *shared)

    count = jnp.sum(batch["mask"].reshape(views, parts, -1), axis=(0, 2), dtype=jnp.float32)
    share = count / jnp.maximum(jnp.sum(count), 1.0)
    values = {name: value.reshape(-1) for name, value in found["rows"].items()}
    values |= {name: mean(value, share) for name, value in found["scalars"].items()}
    weights, state = jax.tree.map(lambda leaf: _agreed(leaf, share), found["same"])
    return Terms(
      losses={name: Term(values["loss", name], weights[name], minimax[name]) for name in minimax},
      metrics={name: value for (kind, name), value in values.items() if kind == "metric"},
      state=state,
    )

  return objective._replace(loss=loss)


def mean(values: Array, share: Array) -> Array:
  """Averages over parts; a part of which no row counts may hold anything.

  Args:
    values: [parts, ...].
    share: [parts] of the rows that count; the shares sum to one.

  Returns:
    [...].

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.programs.scope import mean
    >>> float(mean(jnp.array([jnp.nan, 1.0, 3.0]), jnp.array([0.0, 0.25, 0.75])))
    2.5
  """
  share = share.reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
  return jnp.sum(jnp.where(share > 0.0, values, 0.0) * share, axis=0)


def _over_parts(one: Callable[..., Tree], parts: int, mesh: Any) -> Callable[..., Tree]:
  """Evaluates `one(number [1], blocks [views, n, ...], *shared)` on every part."""
  part, block, whole = PartitionSpec(AXIS), PartitionSpec(None, AXIS), PartitionSpec()
  if mesh is not None:
    # Within a population its axis is taken already: the mesh is then the one that surrounds us.
    around = jax.sharding.get_abstract_mesh()
    return jax.shard_map(
      one,
      mesh=mesh if around.empty else around,
      in_specs=(part, block, *(whole,) * 6),
      out_specs={"rows": block, "scalars": part, "same": part},
      axis_names={AXIS},
      check_vma=False,
    )

  def mapped(numbers: Array, split: Tree, *shared: Any) -> Tree:
    cut = jax.tree.map(lambda a: a.reshape(a.shape[0], parts, -1, *a.shape[2:]), split)
    axes = {"rows": 1, "scalars": 0, "same": 0}
    each = jax.vmap(one, in_axes=(0, 1, *(None,) * 6), out_axes=axes)
    found = each(numbers[:, None], cut, *shared)
    rows = jax.tree.map(lambda a: a.reshape(a.shape[0], -1), found.pop("rows"))
    return {"rows": rows, **jax.tree.map(lambda a: a[:, 0], found)}

  return mapped


def _merge(first: list[bool], ones: list[Any], others: list[Any]) -> list[Any]:
  """The list whose entries come from `ones` where `first` is true, and else from `others`."""
  of_one, of_other = iter(ones), iter(others)
  return [next(of_one) if mine else next(of_other) for mine in first]


def _agreed(values: Array, share: Array) -> Array:
  """The value of all parts where they have the same, bit for bit, and else their average."""
  first = values[0]
  if not jnp.issubdtype(values.dtype, jnp.floating):
    return first
  return jnp.where(jnp.all(values == first, axis=0), first, mean(values, share))
