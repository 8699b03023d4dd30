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

from ..lines.render import (
    NODES,
    TILE,
    Chunks,
    LineDepth,
    at_pixels,
    line_columns,
    optical_depth,
    parts,
    transmitted,
)
from .evaluate import ForwardModel, add_residual, smooth_line_params

_AT_ONCE = 128
"""Chunks of the layout that are evaluated together."""


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
        layout, count = self.forward.layout, len(self.changes)
        near, far = (self._summed(*part) for part in parts(layout, self.forward.composition))
        tiles = near + at_pixels(far, layout.along[:, None])
        pixels = jnp.moveaxis(tiles, 0, 1).reshape(2 * count + 1, -1)[:, : layout.n_pixels]
        return pixels[:count], pixels[count : 2 * count], pixels[-1]

    def _summed(self, chunks: Chunks, of_line: LineDepth) -> Array:
        """Sums over the lines of some chunks, (tiles, 2 K + 1, T)."""

        def of_chunk(chunk: tuple[Array, Array, Array]) -> Array:
            x, slots, offsets = chunk
            lines = self.columns[slots], self.changes[:, slots]
            depth, changed = depths_and_changes(of_line, *lines, x, offsets)
            sums = [jnp.sum(of, axis=1) for of in (jnp.abs(changed), changed, depth[None])]
            return jnp.concatenate(sums)

        given = (chunks.x, chunks.slots, chunks.offsets)
        sums = jax.lax.map(of_chunk, given, batch_size=_AT_ONCE)
        n_tiles = self.forward.layout.n_tiles
        return jax.ops.segment_sum(sums, chunks.tile, n_tiles)

    def project(self, density: Array) -> Array:
        """Return the sizes of the changes of each line times `density` (K, P), summed over pixels,
        (K, C)."""
        layout = self.forward.layout
        padding = layout.n_tiles * TILE - layout.n_pixels
        padded = jnp.pad(density, ((0, 0), (0, padding)))
        tiles = jnp.moveaxis(padded.reshape(len(density), -1, TILE), 1, 0)
        shape = jax.ShapeDtypeStruct((*tiles.shape[:2], NODES), tiles.dtype)
        interpolate = partial(at_pixels, along=layout.along[:, None])
        (at_nodes,) = jax.linear_transpose(interpolate, shape)(tiles)
        near, far = parts(layout, self.forward.composition)
        projected = self._projected(tiles, *near) + self._projected(at_nodes, *far)
        return projected[:-1].T

    def _projected(self, tiles: Array, chunks: Chunks, of_line: LineDepth) -> Array:
        """Sums over the pixels or nodes of some chunks for each line, (C + 1, K); `tiles`
        (tiles, K, T) has the densities."""

        def of_chunk(chunk: tuple[Array, Array, Array, Array]) -> Array:
            x, slots, offsets, tile = chunk
            lines = self.columns[slots], self.changes[:, slots]
            _, changed = depths_and_changes(of_line, *lines, x, offsets)
            return jnp.sum(jnp.abs(changed) * tiles[tile][:, None], axis=2).T

        given = (chunks.x, chunks.slots, chunks.offsets, chunks.tile)
        projected = jax.lax.map(of_chunk, given, batch_size=_AT_ONCE)  # (chunks, S, K)
        slots = chunks.slots.reshape(-1)
        by_slot = projected.reshape(slots.size, -1)
        return jax.ops.segment_sum(by_slot, slots, self.columns.shape[0])


def depths_and_changes(
    of_line: LineDepth, columns: Array, changes: Array, x: Array, offsets: Array
) -> tuple[Array, Array]:
    """Return the depths (S, T) of lines at pixels, and their changes (K, S, T).

    `columns` (S, 4) and `changes` (K, S, 4) are those of the lines, `x` (T,) and `offsets` (S,)
    the pixels and the references of lines, Å from a common origin.
    """

    def of_one(x: Array, columns: Array, change: Array) -> tuple[Array, Array]:
        depth, push = jax.linearize(partial(of_line, x), columns)
        return depth, jax.vmap(push)(change)

    of_lines = jax.vmap(of_one, in_axes=(0, 0, 1), out_axes=(0, 1))
    return of_lines(x - offsets[:, None], columns, changes)


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
