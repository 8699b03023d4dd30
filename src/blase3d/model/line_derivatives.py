"""How single lines change a spectrum, summed chunk by chunk of the layout.

The changes of the optical depth by every line along some directions of the labels are as many
numbers as there are pairs of a line and a pixel; they are summed on the way and never kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ..lines.compositions import COMPOSITIONS
from ..lines.profiles import PROFILES
from ..lines.render import TILE, line_columns, transmitted
from .evaluate import Emulator, smooth_params, with_residual

_AT_ONCE = 8
"""Chunks of the layout that are evaluated together, as in `render`."""


@jax.jit
def changes_along(
    emulator: Emulator, labels: Array, along: Array, slopes: Array, change: Array
) -> tuple[LineChanges, Array, Array, Array]:
    """The lines and how they move; sizes of all changes of the flux together, and those of the
    residual alone, (L, P); and the gain (P,)."""
    moved = jnp.tensordot(along, slopes, axes=1)
    lines = LineChanges(emulator, *_columns(emulator, smooth_params(emulator, labels), moved))
    sizes, signed, depth = lines.summed()
    gain = _gain(emulator, labels, depth)
    of_residual = jnp.abs(along @ change - gain * signed)
    return lines, jnp.abs(gain) * sizes + of_residual, of_residual, gain


@jax.jit
def against(lines: LineChanges, density: Array) -> Array:
    """Sizes of the changes of each line times `density` (K, P), summed over pixels, (K, C)."""
    return lines.against(density)


def _columns(emulator: Emulator, params: Array, moved: Array) -> tuple[Array, Array]:
    """Columns of the lines (C + 1, 4), as `line_columns`, and their changes (L, C + 1, 4)."""
    value, push = jax.linearize(partial(line_columns, profile=emulator.layout.profile), params)
    return value, jax.vmap(push)(moved)


def _gain(emulator: Emulator, labels: Array, depth: Array) -> Array:
    """Derivative of the flux by the optical depth of the lines, `depth`, at each pixel (P,)."""
    weights = emulator.manifold.weights(labels)

    def flux(depth: Array) -> Array:
        return with_residual(emulator, transmitted(depth, emulator.composition), weights)

    return jax.jvp(flux, (depth,), (jnp.ones_like(depth),))[1]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("emulator", "columns", "changes"),
    meta_fields=(),
)
@dataclass(frozen=True, eq=False)
class LineChanges:
    """Changes of the optical depth by each line, evaluated chunk by chunk of the layout and never
    kept: they are as many as pairs of a line and a pixel."""

    emulator: Emulator
    columns: Array
    changes: Array

    def summed(self) -> tuple[Array, Array, Array]:
        """Sums over the lines: of the sizes and of the signed changes, (K, P) both, and of the
        optical depths themselves (P,)."""
        layout = self.emulator.layout

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

    def against(self, density: Array) -> Array:
        """Sizes of the changes of each line times `density` (K, P), summed over pixels, (K, C)."""
        layout = self.emulator.layout
        padding = self._n_tiles * TILE - layout.n_pixels
        padded = jnp.pad(density, ((0, 0), (0, padding)))
        tiles = jnp.moveaxis(padded.reshape(len(density), -1, TILE), 1, 0)

        def of_chunk(chunk: tuple[Array, Array, Array, Array]) -> Array:
            x, slots, offsets, tile = chunk
            change, _ = self._of_chunk(x, slots, offsets)
            return jnp.sum(jnp.abs(change) * tiles[tile][:, None], axis=2).T

        chunks = (layout.x, layout.slots, layout.offsets, layout.tile)
        parts = jax.lax.map(of_chunk, chunks, batch_size=_AT_ONCE)  # (chunks, S, K)
        count = self.columns.shape[0]
        slots = layout.slots.reshape(-1)
        return jax.ops.segment_sum(parts.reshape(slots.size, -1), slots, count)[:-1].T

    @property
    def _n_tiles(self) -> int:
        return -(-self.emulator.layout.n_pixels // TILE)

    def _of_chunk(self, x: Array, slots: Array, offsets: Array) -> tuple[Array, Array]:
        """Changes of the optical depth by the lines of one chunk at its pixels, (K, S, TILE), and
        the optical depths (S, TILE)."""
        profile = PROFILES[self.emulator.layout.profile]
        shift, area, *shape = (column[slots][:, None] for column in self.columns.T)
        value, *slopes = profile.partials(x - (offsets[:, None] + shift), *shape)
        d_shift, d_area, *d_shape = (self.changes[:, slots, k][..., None] for k in range(4))
        moved = sum(d * by for d, by in zip((d_shift, *d_shape), slopes, strict=True))
        depth, slope = COMPOSITIONS[self.emulator.composition].depth(area * value)
        return slope * (d_area * value + area * moved), depth
