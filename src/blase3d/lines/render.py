"""Flux of many lines on many pixels: the hot kernel.

The pixels are cut into tiles of neighbours. The lines whose wings reach a tile are gathered in
chunks of equal size, with wavelengths relative to the tile's centre, for which float32 is enough.
Chunks run through `lax.map` a few at a time, so that the (line, pixel) arrays stay in cache, and
are recomputed on the way back rather than stored. The derivatives of a chunk are in closed form
(`LineProfile.partials`) and linear in the tangents, so forward and reverse mode both follow from
one rule.

A layout depends on the positions of the lines and the reach of their wings, not on the parameters.
All nodes of a grid that share a catalogue share its layout, and one compilation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from ..recipe import Composition
from .compositions import COMPOSITIONS
from .lines import DEFAULT_PROFILE, NO_AREA
from .profiles import PROFILES

ONE_ORDER = {"xla_cpu_multi_thread_eigen": False}
"""Compiler options of fits: sums have one order whatever the number of threads, so that one worker
and many make bit-identical clones."""
TILE = 128
"""Pixels per tile."""
_CHUNKS_AT_ONCE = 256
"""Largest number: the (line, pixel) arrays, 1.5 MB each, stay in the cache of a core."""
_SLOTS = 12
"""Lines per chunk. A tile that more lines reach has several chunks."""


_BLANK = np.array([[0.0, NO_AREA, 0.0, 0.0]], np.float32)
"""Parameters of a line that absorbs nothing."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("x", "slots", "offsets", "tile"),
    meta_fields=("n_pixels", "profile"),
)
@dataclass(frozen=True)
class Layout:
    """Lines that reach each pixel: C chunks of at most S lines that reach one tile.

    `x` (C, TILE) pixel and `offsets` (C, S) line wavelengths from the tile's centre (Å, float32),
    `slots` (C, S) indices of lines (N for an empty slot), `tile` (C,) the tile of each chunk in
    increasing order. C is rounded up so that similar layouts share one compilation. `profile` names
    the profile of the lines.
    """

    x: Array
    slots: Array
    offsets: Array
    tile: Array
    n_pixels: int
    profile: str = DEFAULT_PROFILE


def reach(
    params: ArrayLike, tolerance: float, profile: str = DEFAULT_PROFILE
) -> NDArray[np.float64]:
    """Return the distance (Å) beyond which a line absorbs less than `tolerance`, (N,)."""
    columns = np.asarray(params, dtype=np.float32)
    n = len(columns)
    padded = np.pad(columns, ((0, round_up(n, bits=2) - n), (0, 0)))  # for few compilations
    area = np.exp(padded[:, 1].astype(np.float64))
    ln_sigma, ln_gamma = padded[:, 2], padded[:, 3]
    with jax.default_device(jax.devices("cpu")[0]):
        far = PROFILES[profile].reach(
            area, jax.device_put(ln_sigma), jax.device_put(ln_gamma), tolerance
        )
    return far[:n]


def make_layout(
    wavelength: ArrayLike, center: ArrayLike, reach: ArrayLike, profile: str = DEFAULT_PROFILE
) -> Layout:
    """Return the layout of lines at `center` (N,) with `reach` (N,) on `wavelength` (P,), all in Å.

    `wavelength` increases but need not be uniform. Lines may lie outside it.
    """
    wave = np.asarray(wavelength, dtype=np.float64)
    center, reach = np.asarray(center, np.float64), np.asarray(reach, np.float64)
    n_tiles = -(-wave.size // TILE)
    padded = np.append(wave, np.full(n_tiles * TILE - wave.size, wave[-1]))
    tiles = padded.reshape(n_tiles, TILE)
    middle = 0.5 * (tiles[:, 0] + tiles[:, -1])
    line, count = _lines_of_tiles(tiles, center, reach)
    chunks = np.maximum(-(-count // _SLOTS), 1)
    # a multiple of those at once: a remainder would be compiled separately
    n_chunks = round_up(int(chunks.sum()), bits=3)
    passes = -(-n_chunks // _CHUNKS_AT_ONCE)
    n_chunks = -(-n_chunks // passes) * passes
    tile = np.append(
        np.repeat(np.arange(n_tiles), chunks), np.full(n_chunks - chunks.sum(), n_tiles - 1)
    )
    # within its tile, chunk k has the lines k S ... (k + 1) S − 1
    number = np.arange(n_chunks) - (np.cumsum(chunks) - chunks)[tile]
    rank = number[:, None] * _SLOTS + np.arange(_SLOTS)
    filled = rank < count[tile, None]
    position = np.where(filled, (np.cumsum(count) - count)[tile, None] + rank, -1)
    slots = np.append(line, center.size)[position]
    offsets = np.where(filled, np.append(center, 0.0)[slots] - middle[tile, None], 0.0)
    return Layout(
        jax.device_put((tiles[tile] - middle[tile, None]).astype(np.float32)),
        jax.device_put(slots.astype(np.int32)),
        jax.device_put(offsets.astype(np.float32)),
        jax.device_put(tile.astype(np.int32)),
        wave.size,
        profile,
    )


def round_up(n: int, bits: int = 4) -> int:
    """Return the next number with only this number of leading bits: for four bits it is at most an
    eighth larger than `n`, for three a quarter."""
    step = 1 << max(n.bit_length() - bits, 0)
    return -(-n // step) * step


def _lines_of_tiles(
    tiles: NDArray[np.float64], center: NDArray[np.float64], reach: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of lines in order of the tiles that they reach, and number of lines of each tile."""
    first = np.searchsorted(tiles[:, -1], center - reach)
    stop = np.searchsorted(tiles[:, 0], center + reach, side="right")
    count = np.maximum(stop - first, 0)
    line = np.repeat(np.arange(center.size), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    tile = np.repeat(first, count) + within
    return line[np.argsort(tile, kind="stable")], np.bincount(tile, minlength=len(tiles))


def optical_depth(params: Array, layout: Layout, composition: Composition = "sum") -> Array:
    """Return the summed depth of lines at the pixels of a layout, (P,).

    Parameters
    ----------
    params : (N, 4)
        Columns of `lines.PARAMETERS`.
    layout : Layout
        Made by `make_layout` for the references of these lines.
    composition : str
        Rule that says what depth a line contributes (`compositions`).
    """
    columns = line_columns(params, layout.profile)

    @jax.checkpoint
    def of_chunk(chunk: tuple[Array, Array, Array]) -> Array:
        x, slots, offsets = chunk
        shift, area, first, second = columns[slots].T
        return _chunk(composition, layout.profile, x, offsets + shift, area, first, second)

    chunks = (layout.x, layout.slots, layout.offsets)
    n_chunks = len(layout.tile)
    at_once = n_chunks // -(-n_chunks // _CHUNKS_AT_ONCE)  # divides the chunks: see make_layout
    depth = jax.lax.map(of_chunk, chunks, batch_size=at_once)
    n_tiles = -(-layout.n_pixels // TILE)
    total = jax.ops.segment_sum(depth, layout.tile, n_tiles, indices_are_sorted=True)
    return total.reshape(-1)[: layout.n_pixels]


def render(params: Array, layout: Layout, composition: Composition = "sum") -> Array:
    """Return the normalised flux of lines at the pixels of a layout, (P,)."""
    return transmitted(optical_depth(params, layout, composition), composition)


def transmitted(depth: Array, composition: Composition) -> Array:
    """Return the flux, in units of the continuum, that lines of this summed depth transmit."""
    return COMPOSITIONS[composition].flux(depth)


def line_columns(params: Array, profile: str) -> Array:
    """Return shift, area and both shape numbers of lines, (N + 1, 4).

    The last row, a line without area, is for the empty slots of a layout.
    """
    return jnp.concatenate(
        [_columns(params, profile), _columns(jnp.asarray(_BLANK, params.dtype), profile)]
    )


def _columns(params: Array, profile: str) -> Array:
    shape = PROFILES[profile].shape(params[:, 2], params[:, 3])
    return jnp.stack([params[:, 0], jnp.exp(params[:, 1]), *shape], axis=1)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _chunk(
    composition: Composition,
    profile: str,
    x: Array,
    center: Array,
    area: Array,
    first: Array,
    second: Array,
) -> Array:
    """Summed depth at pixels x (TILE,) of lines (S,), relative to the tile's centre."""
    value = PROFILES[profile].value(x - center[:, None], first[:, None], second[:, None])
    return jnp.sum(COMPOSITIONS[composition].depth(area[:, None] * value)[0], axis=0)


@_chunk.defjvp
def _chunk_jvp(
    composition: Composition,
    profile: str,
    primals: tuple[Array, ...],
    tangents: tuple[Array, ...],
) -> tuple[Array, Array]:
    """The pixels are fixed: only the parameters of the lines carry tangents."""
    x, center, area, first, second = primals
    _, d_center, d_area, d_first, d_second = tangents
    value, by_center, by_first, by_second = PROFILES[profile].partials(
        x - center[:, None], first[:, None], second[:, None]
    )
    depth, slope = COMPOSITIONS[composition].depth(area[:, None] * value)
    # each product is (S,) @ (S, TILE): transposed, it is the sum over pixels of reverse mode
    tangent = (
        d_area @ (slope * value)
        + (area * d_center) @ (slope * by_center)
        + (area * d_first) @ (slope * by_first)
        + (area * d_second) @ (slope * by_second)
    )
    return jnp.sum(depth, axis=0), tangent
