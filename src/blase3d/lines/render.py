"""Flux of many lines on many pixels: the hot kernel.

The pixels are cut into tiles of neighbours. The lines whose wings reach a tile are gathered in
chunks of equal size, with wavelengths relative to the tile's centre, for which float32 is enough.
Where only the far wing of a line reaches a tile, it is smooth there: the wings of all such lines
are summed at a few nodes of the tile, and a polynomial through the nodes is evaluated at the
pixels. Two thirds of the pairs of a line and a pixel are of this kind.

Chunks run through `lax.map` a group at a time, so that what they need stays in cache. The depths of
their lines are summed in a loop, which ends after the last slot that a chunk of the group has
filled: chunks are in the order of their numbers of lines. Derivatives are matrices of lines and
pixels, which are multiplied with the changes of the lines, or in reverse mode with those of the
pixels. They are computed again on the way back, rather than stored.

A layout depends on the positions of the lines and the reach of their wings, not on the parameters.
All nodes of a grid that share a catalogue share its layout, and one compilation.
"""

from __future__ import annotations

from collections.abc import Callable
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
LineDepth = Callable[[Array, Array | list[Array]], Array]
"""Depth of a line at distances (Å) from its reference, for its columns."""
TILE = 64
"""Pixels per tile."""
NODES = 8
"""Nodes of a tile for far wings."""
_SUMS_AT_ONCE = 8192
"""Largest number of pixels or nodes of the chunks that are evaluated together."""
_SLOTS = 16, 12, 8, 4
"""Numbers of lines that the chunks of a layout may have. A tile that more lines reach has several
chunks."""
_PER_CHUNK = 4
"""Cost of a chunk beside that of its lines, in lines."""
_SHARE = 0.1
"""Share of the tolerance by which a far wing may differ from the profile, and a polynomial from the
far wing."""


_NODES = np.cos((np.arange(NODES) + 0.5) * np.pi / NODES)
"""Places of the nodes in a tile: zeros of a Chebyshev polynomial."""
_SERIES = np.linalg.inv(np.polynomial.chebyshev.chebvander(_NODES, NODES - 1)).T
"""Coefficients of Chebyshev polynomials (columns) for a value of 1 at one node (rows)."""
_BLANK = np.array([[0.0, NO_AREA, 0.0, 0.0]], np.float32)
"""Parameters of a line that absorbs nothing."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("x", "slots", "offsets", "filled", "tile"),
    meta_fields=(),
)
@dataclass(frozen=True)
class Chunks:
    """Pairs of a line and a tile: C chunks of at most S lines that reach one tile.

    `x` (C, T) wavelengths of pixels or nodes and `offsets` (C, S) of lines, from the tile's centre
    (Å, float32), `slots` (C, S) indices of lines (N for an empty slot), `filled` (C,) the number of
    lines of each chunk in decreasing order, `tile` (C,) its tile. The lines of a chunk are in its
    first slots. C is rounded up so that similar layouts share one compilation.
    """

    x: Array
    slots: Array
    offsets: Array
    filled: Array
    tile: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("near", "far", "along"),
    meta_fields=("n_pixels", "profile"),
)
@dataclass(frozen=True)
class Layout:
    """Lines that reach each pixel: near ones, and those of which only the far wing does.

    `near` chunks have TILE pixels, `far` ones NODES nodes, and `along` (tiles, TILE) is the place
    of each pixel in its tile, from −1 to 1. `profile` names the profile of the lines.
    """

    near: Chunks
    far: Chunks
    along: Array
    n_pixels: int
    profile: str = DEFAULT_PROFILE

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return -(-self.n_pixels // TILE)

    def room(self, n_lines: int) -> int:
        """Return the number to which `n_lines` lines, all of them near, are padded: that of the
        slots or a quarter of it, so that layouts of one shape share one compilation."""
        slots = self.near.slots.size
        return slots // 4 if n_lines <= slots // 4 else slots


def reach(
    params: ArrayLike, tolerance: float, profile: str = DEFAULT_PROFILE
) -> NDArray[np.float64]:
    """Return the distance (Å) beyond which a line absorbs less than `tolerance`, (N,)."""
    return _distance(PROFILES[profile].reach, params, tolerance)


def core(
    params: ArrayLike, tolerance: float, profile: str = DEFAULT_PROFILE
) -> NDArray[np.float64]:
    """Return the distance (Å) beyond which lines are their far wings to a tenth of `tolerance`,
    (N,)."""
    return _distance(PROFILES[profile].core, params, _SHARE * tolerance)


def _distance(
    of_lines: Callable[..., NDArray[np.float64]], params: ArrayLike, tolerance: float
) -> NDArray[np.float64]:
    columns = np.asarray(params, dtype=np.float32)
    n = len(columns)
    padded = np.pad(columns, ((0, round_up(n, bits=2) - n), (0, 0)))  # for few compilations
    area = np.exp(padded[:, 1].astype(np.float64))
    ln_sigma, ln_gamma = padded[:, 2], padded[:, 3]
    with jax.default_device(jax.devices("cpu")[0]):
        far = of_lines(area, jax.device_put(ln_sigma), jax.device_put(ln_gamma), tolerance)
    return far[:n]


def make_layout(
    wavelength: ArrayLike,
    center: ArrayLike,
    reach: ArrayLike,
    profile: str = DEFAULT_PROFILE,
    core: ArrayLike = np.inf,
) -> Layout:
    """Return the layout of lines at `center` (N,) with `reach` (N,) on `wavelength` (P,), all in Å.

    `wavelength` increases but need not be uniform. Lines may lie outside it. Farther than `core`
    (N,) from `center` lines absorb as their far wings do: it includes what they are shifted by.
    """
    wave = np.asarray(wavelength, dtype=np.float64)
    center, reach = np.asarray(center, np.float64), np.asarray(reach, np.float64)
    n_tiles = -(-wave.size // TILE)
    padded = np.append(wave, np.full(n_tiles * TILE - wave.size, wave[-1]))
    tiles = padded.reshape(n_tiles, TILE)
    middle, half = 0.5 * (tiles[:, :1] + tiles[:, -1:]), 0.5 * (tiles[:, -1:] - tiles[:, :1])
    half = np.maximum(half, 1e-9)  # of one pixel
    line, tile, distance = _lines_of_tiles(tiles, center, reach)
    near = distance <= np.broadcast_to(core, center.shape)[line]
    near |= ~_is_smooth(distance, reach[line], half[tile, 0])
    return Layout(
        _chunks(tiles, center, line[near], tile[near]),
        _chunks(middle + half * _NODES, center, line[~near], tile[~near]),
        jax.device_put(((tiles - middle) / half).astype(np.float32)),
        wave.size,
        profile,
    )


def _is_smooth(
    distance: NDArray[np.float64], reach: NDArray[np.float64], half: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether a polynomial follows the far wing of a line over a tile of half width `half`, at this
    `distance` of its reference from the tile's nearest end (Å). Shifts of lines, which are far
    smaller but for a few, are neglected.

    Through n Chebyshev nodes it is off by less than 2 n ρ⁻ⁿ of the wing at that end, where ρ is
    that of the largest ellipse without the centre of the line (Trefethen 2013, Approximation Theory
    and Approximation Practice, ch. 8). The wing is there (reach/distance)² times the tolerance.
    """
    outside = np.maximum(distance, 0.0)
    z = 1.0 + outside / half
    rho = z + np.sqrt(z * z - 1.0)
    return 2 * NODES * rho**-NODES * reach**2 <= _SHARE * outside**2


def _lines_of_tiles(
    tiles: NDArray[np.float64], center: NDArray[np.float64], reach: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of a line and a tile that it reaches, in order of tiles: both indices, and the distance
    of the line from the nearest end of the tile (Å), negative inside."""
    first = np.searchsorted(tiles[:, -1], center - reach)
    stop = np.searchsorted(tiles[:, 0], center + reach, side="right")
    count = np.maximum(stop - first, 0)
    line = np.repeat(np.arange(center.size), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    tile = np.repeat(first, count) + within
    order = np.argsort(tile, kind="stable")
    line, tile = line[order], tile[order]
    distance = np.maximum(tiles[tile, 0] - center[line], center[line] - tiles[tile, -1])
    return line, tile, distance


def _chunks(
    tiles: NDArray[np.float64],
    center: NDArray[np.float64],
    line: NDArray[np.int64],
    tile: NDArray[np.int64],
) -> Chunks:
    """Chunks of the pairs of `line` and `tile`, which are in order of tiles, at the wavelengths of
    `tiles` (tiles, T)."""
    count = np.bincount(tile, minlength=len(tiles))
    width = tiles.shape[1]
    needed = {n: _n_chunks(count, n, width) for n in _SLOTS}
    n_slots = min(needed, key=lambda n: needed[n] * (n + _PER_CHUNK))
    n_chunks, chunks = needed[n_slots], -(-count // n_slots)
    of_tile = np.append(
        np.repeat(np.arange(len(tiles)), chunks), np.full(n_chunks - chunks.sum(), len(tiles) - 1)
    )
    # within its tile, chunk k has the lines k S ... (k + 1) S − 1
    number = np.arange(n_chunks) - (np.cumsum(chunks) - chunks)[of_tile]
    rank = number[:, None] * n_slots + np.arange(n_slots)
    has_line = rank < count[of_tile, None]
    filled = has_line.sum(axis=1)
    order = np.argsort(-filled, kind="stable")
    filled, of_tile, has_line, rank = (each[order] for each in (filled, of_tile, has_line, rank))
    position = np.where(has_line, (np.cumsum(count) - count)[of_tile, None] + rank, -1)
    slots = np.append(line, center.size)[position]
    middle = 0.5 * (tiles[:, 0] + tiles[:, -1])[of_tile, None]
    offsets = np.where(has_line, np.append(center, 0.0)[slots] - middle, 0.0)
    return Chunks(
        jax.device_put((tiles[of_tile] - middle).astype(np.float32)),
        jax.device_put(slots.astype(np.int32)),
        jax.device_put(offsets.astype(np.float32)),
        jax.device_put(filled.astype(np.int32)),
        jax.device_put(of_tile.astype(np.int32)),
    )


def _n_chunks(count: NDArray[np.int64], n_slots: int, width: int) -> int:
    """Number of chunks of `n_slots` lines at `width` wavelengths, for this `count` of lines in each
    tile, rounded up."""
    n_chunks = round_up(max(int((-(-count // n_slots)).sum()), 1), bits=3)
    at_once = _at_once(n_chunks, width)
    return at_once * -(-n_chunks // at_once)  # groups are of one size


def _at_once(n_chunks: int, width: int) -> int:
    """Number of chunks that are evaluated together, of `n_chunks` at `width` wavelengths."""
    return -(-n_chunks // -(-n_chunks * width // _SUMS_AT_ONCE))


def round_up(n: int, bits: int = 4) -> int:
    """Return the next number with only this number of leading bits: for four bits it is at most an
    eighth larger than `n`, for three a quarter."""
    step = 1 << max(n.bit_length() - bits, 0)
    return -(-n // step) * step


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
    near, far = (
        _summed(columns, chunks, layout.n_tiles, of_line)
        for chunks, of_line in parts(layout, composition)
    )
    return (near + at_pixels(far, layout.along)).reshape(-1)[: layout.n_pixels]


def at_pixels(values: Array, along: Array) -> Array:
    """Return the polynomials through `values` (..., NODES) at the places `along` (..., T) of a
    tile, by the recurrence of Clenshaw for sums of Chebyshev polynomials."""
    series = jnp.tensordot(values, _SERIES.astype(values.dtype), axes=1)
    last, total = jnp.zeros_like(along), jnp.zeros_like(along)
    for k in range(NODES - 1, 0, -1):
        last, total = total, 2.0 * along * total - last + series[..., k, None]
    return along * total - last + series[..., 0, None]


def parts(
    layout: Layout, composition: Composition
) -> tuple[tuple[Chunks, LineDepth], tuple[Chunks, LineDepth]]:
    """Return the near and the far pairs of a layout, each with the depth of one line there."""
    profile, rule = PROFILES[layout.profile], COMPOSITIONS[composition]

    def of_line(absorbed: Callable[..., Array], x: Array, line: Array | list[Array]) -> Array:
        shift, *columns = line
        return rule.depth(absorbed(x - shift, *columns))

    near, far = (partial(of_line, absorbed) for absorbed in (profile.full, profile.wing))
    return (layout.near, near), (layout.far, far)


def _summed(columns: Array, chunks: Chunks, n_tiles: int, of_line: LineDepth) -> Array:
    """Summed depth of lines at the pixels or nodes of all tiles, (n_tiles, T)."""
    at_once = _at_once(*chunks.x.shape)

    @partial(jax.checkpoint, prevent_cse=False)  # a loop is a barrier of its own
    def of_group(group: tuple[Array, Array, Array, Array]) -> Array:
        x, slots, offsets, filled = group
        return _depth(of_line, x, offsets, columns[slots], filled[0])

    given = chunks.x, chunks.slots, chunks.offsets, chunks.filled
    groups = tuple(each.reshape(-1, at_once, *each.shape[1:]) for each in given)
    depth = jax.lax.map(of_group, groups).reshape(chunks.x.shape)
    return jax.ops.segment_sum(depth, chunks.tile, n_tiles)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _depth(of_line: LineDepth, x: Array, offsets: Array, columns: Array, most: Array) -> Array:
    """Summed depth (C, T) at `x` (C, T) of the first `most` lines of chunks, with `offsets` (C, S)
    and `columns` (C, S, 4)."""
    by_slot = offsets.T, jnp.swapaxes(columns, 0, 1)

    def add(slot: Array, total: Array) -> Array:
        offset, line = (each[slot] for each in by_slot)
        return total + of_line(x - offset[:, None], list(line.T[..., None]))

    return jax.lax.fori_loop(0, most, add, jnp.zeros_like(x, columns.dtype))


@_depth.defjvp
def _depth_jvp(
    of_line: LineDepth, primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[Array, Array]:
    """The pixels are fixed: only the columns of the lines carry tangents."""
    x, offsets, columns, most = primals
    distance = x[:, None] - offsets[..., None]
    lines = list(jnp.moveaxis(columns, -1, 0)[..., None])

    def by_column(k: int) -> Array:
        """Derivatives (C, S, T) of the depths of single lines by one column of theirs."""

        def depth(column: Array) -> Array:
            return of_line(distance, [*lines[:k], column, *lines[k + 1 :]])

        return jax.jvp(depth, (lines[k],), (jnp.ones_like(lines[k]),))[1]

    # each product is (S,) @ (S, T): transposed, it is the sum over pixels of reverse mode
    tangent = sum(
        jnp.einsum("cs,cst->ct", tangents[2][..., k], by_column(k)) for k in range(len(lines))
    )
    return _depth(of_line, x, offsets, columns, most), jnp.asarray(tangent)


def render(params: Array, layout: Layout, composition: Composition = "sum") -> Array:
    """Return the normalised flux of lines at the pixels of a layout, (P,)."""
    return transmitted(optical_depth(params, layout, composition), composition)


def transmitted(depth: Array, composition: Composition) -> Array:
    """Return the flux, in units of the continuum, that lines of this summed depth transmit."""
    return COMPOSITIONS[composition].flux(depth)


def line_columns(params: Array, profile: str) -> Array:
    """Return shift and columns of lines, (N + 1, 4).

    The last row, a line without area, is for the empty slots of a layout.
    """
    whole = jnp.concatenate([params, jnp.asarray(_BLANK, params.dtype)])
    return jnp.stack([whole[:, 0], *PROFILES[profile].columns(*whole[:, 1:].T)], axis=1)
