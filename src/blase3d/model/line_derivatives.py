"""Derivatives of a spectrum by single lines, summed chunk by chunk of the layout.

The changes of the depth by every line, along some directions of the labels, are as many numbers as
pairs of a line and a pixel. They are summed on the way and never stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ..lines.compositions import COMPOSITIONS
from ..lines.profiles import PROFILES
from ..lines.render import TILE, line_columns, optical_depth, transmitted
from .evaluate import ForwardModel, add_residual, smooth_line_params

_AT_ONCE = 8
"""Chunks of the layout that are evaluated together, as in `render`."""


@jax.jit
def derivatives_along(
    forward: ForwardModel, labels: Array, along: Array, slopes: Array, change: Array
) -> tuple[LineDerivatives, Array, Array, Array]:
    """Return the derivatives of lines and flux along directions of the labels.

    Parameters
    ----------
    labels : (L,)
    along : (K, L)
        The directions.
    slopes : (L, C, 4)
        Derivatives of the line parameters by the labels.
    change : (L, P)
        Derivatives of the flux by the labels.

    Returns
    -------
    LineDerivatives
        Of the lines.
    (K, P), (K, P)
        Sizes of all changes of the flux together, and those of the residual alone.
    (P,)
        Derivative of the flux by the summed depth of the lines.
    """
    moved = jnp.tensordot(along, slopes, axes=1)
    lines = LineDerivatives(forward, *_columns(forward, smooth_line_params(forward, labels), moved))
    sizes, signed, depth = lines.summed()
    gain = _gain(forward, labels, depth)
    of_residual = jnp.abs(along @ change - gain * signed)
    return lines, jnp.abs(gain) * sizes + of_residual, of_residual, gain


@jax.jit
def project(lines: LineDerivatives, density: Array) -> Array:
    """Return the sizes of the changes of each line times `density` (K, P), summed over pixels,
    (K, C)."""
    return lines.project(density)


def _columns(forward: ForwardModel, params: Array, moved: Array) -> tuple[Array, Array]:
    """Columns of the lines (C + 1, 4), as `line_columns`, and their changes (L, C + 1, 4)."""
    value, push = jax.linearize(partial(line_columns, profile=forward.layout.profile), params)
    return value, jax.vmap(push)(moved)


def _gain(forward: ForwardModel, labels: Array, depth: Array) -> Array:
    """Derivative of the flux by the summed `depth` of the lines at each pixel (P,)."""
    weights = forward.interpolation.weights(labels)

    def flux(depth: Array) -> Array:
        return add_residual(forward, transmitted(depth, forward.composition), weights)

    return jax.jvp(flux, (depth,), (jnp.ones_like(depth),))[1]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("forward", "columns", "changes"),
    meta_fields=(),
)
@dataclass(frozen=True, eq=False)
class LineDerivatives:
    """Changes of the depth by each line, evaluated chunk by chunk of the layout.

    `columns` (C + 1, 4) of the lines as in `line_columns`, and their `changes` (K, C + 1, 4).
    """

    forward: ForwardModel
    columns: Array
    changes: Array

    def summed(self) -> tuple[Array, Array, Array]:
        """Return sums over the lines: sizes of the changes and signed changes, (K, P) both, and the
        depths themselves (P,)."""
        layout = self.forward.layout

        def of_chunk(chunk: tuple[Array, Array, Array]) -> Array:
            change, depth = self._of_chunk(*chunk)
            sums = jnp.abs(change).sum(axis=1), change.sum(axis=1), depth.sum(axis=0)[None]
            return jnp.concatenate(sums)

        chunks = (layout.x, layout.slots, layout.offsets)
        sums = jax.lax.map(of_chunk, chunks, batch_size=_AT_ONCE)  # (chunks, 2 K + 1, TILE)
        tiles = jax.ops.segment_sum(sums, layout.tile, self._n_tiles, indices_are_sorted=True)
        pixels = jnp.moveaxis(tiles, 0, 1).reshape(sums.shape[1], -1)[:, : layout.n_pixels]
        count = len(self.changes)
        return pixels[:count], pixels[count : 2 * count], pixels[-1]

    def project(self, density: Array) -> Array:
        """Return the sizes of the changes of each line times `density` (K, P), summed over pixels,
        (K, C)."""
        layout = self.forward.layout
        padding = self._n_tiles * TILE - layout.n_pixels
        padded = jnp.pad(density, ((0, 0), (0, padding)))
        tiles = jnp.moveaxis(padded.reshape(len(density), -1, TILE), 1, 0)

        def of_chunk(chunk: tuple[Array, Array, Array, Array]) -> Array:
            x, slots, offsets, tile = chunk
            change, _ = self._of_chunk(x, slots, offsets)
            return jnp.sum(jnp.abs(change) * tiles[tile][:, None], axis=2).T

        chunks = (layout.x, layout.slots, layout.offsets, layout.tile)
        projected = jax.lax.map(of_chunk, chunks, batch_size=_AT_ONCE)  # (chunks, S, K)
        count = self.columns.shape[0]
        slots = layout.slots.reshape(-1)
        return jax.ops.segment_sum(projected.reshape(slots.size, -1), slots, count)[:-1].T

    @property
    def _n_tiles(self) -> int:
        return -(-self.forward.layout.n_pixels // TILE)

    def _of_chunk(self, x: Array, slots: Array, offsets: Array) -> tuple[Array, Array]:
        """Changes of the depth by the lines of one chunk at its pixels, (K, S, TILE), and the
        depths (S, TILE)."""
        return depth_changes(self.forward, self.columns, self.changes, x, slots, offsets)


def depth_changes(
    forward: ForwardModel, columns: Array, changes: Array, x: Array, slots: Array, offsets: Array
) -> tuple[Array, Array]:
    """Return changes (K, S, T) of the depth by lines at pixels, and their depths (S, T).

    `columns` and `changes` are those of `LineDerivatives`; `slots` (S,) has the indices of the
    lines, `x` (T,) and `offsets` (S,) their pixels and references, Å from a common origin.
    """
    profile = PROFILES[forward.layout.profile]
    shift, area, *shape = (column[slots][:, None] for column in columns.T)
    value, *slopes = profile.partials(x - (offsets[:, None] + shift), *shape)
    d_shift, d_area, *d_shape = (changes[:, slots, k][..., None] for k in range(4))
    moved = sum(d * by for d, by in zip((d_shift, *d_shape), slopes, strict=True))
    depth, slope = COMPOSITIONS[forward.composition].depth(area * value)
    return slope * (d_area * value + area * moved), depth


@jax.jit
def single_line_changes(
    forward: ForwardModel, labels: Array, moved: Array
) -> tuple[Array, Array, Array]:
    """Return the columns (C + 1, 4) of the lines that the residual is added to, their changes
    (K, C + 1, 4) for changes `moved` (K, C, 4) of their parameters, and the derivative (P,) of the
    flux by their summed depth."""
    params = smooth_line_params(forward, labels)
    depth = optical_depth(params, forward.layout, forward.composition)
    return *_columns(forward, params, moved), _gain(forward, labels, depth)
