"""How accurate are labels of real stars?

    python benchmarks/stars.py --model vis.zip --model rvs.zip --cache stars-cache --json stars.json

Labels of the spectra in `stars.ecsv` (from `../shared/data/observed`), by every model that overlaps
them, compared with the literature: with default settings, and by a plain fit of pixels that are
interpolated between the same nodes (`rivals/plain.py`); with `--method rvspecfit`, also by that
package (Koposov 2019), where it is installed; with `--method calibrated`, by the model calibrated
on all other stars; with `--method macroturbulence`, with that free too. `--sections N` takes N
windows of each spectrum in its place. Pulls include the errors of the literature.
Stars whose labels lie outside a model, or are not known, are listed and marked, and do not enter
the summaries. A fit with the labels of the literature shows the lines that disagree in most stars.
With `--cache`, answers are kept by spectrum, model, method and code, and only others are computed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table as EcsvTable
from rich import box
from rich.console import Console
from rich.table import Table

import blase3d as b3
from blase3d.analysis.calibration import calibrate, read_known_stars
from blase3d.analysis.identify import available, identify
from blase3d.analysis.line_table import main_components
from blase3d.errors import InputError
from blase3d.inference.problem import make_problem
from blase3d.model.identity import model_checksum
from blase3d.spectra.spectrum import cut
from blase3d.views.report.misfit import SIGNIFICANT, line_residuals
from blase3d.views.report.report_data import make_report_data
from rivals.library import Library, NotAvailable
from rivals.plain import Templates, node_library, plain_fit, plain_templates
from rivals.rvspecfit import rvspecfit_fit

ROOT, PACKAGE = Path(__file__).resolve().parent, Path(b3.__file__).parent
TABLE = ROOT / "stars.ecsv"
COMPARED = {"teff": 0, "logg": 2, "feh": 2, "alpha": 2}
"""Labels that are compared, and their decimals."""
DWARFS = {"teff": (4800.0, 6500.0), "logg": (3.5, 5.0)}
"""Dwarfs and subgiants of the summaries."""
MOST = 0.5
"""Share of the stars in which a listed line disagrees ..."""
FEWEST = 3
"""... and their least number."""
LISTED = 40
"""Lines that are printed."""
PIXELS = 300
"""Usable pixels of a section, at least."""
PARAMETERS = {"teff": "Teff", "logg": "log g", "feh": "[Fe/H]", "alpha": "[α/Fe]"}
REMARKS = ("cut to", "masked", "wavelengths ", "velocity perhaps", "given less weight", "continuum")
SOURCES = ("inference", "lines", "model", "spectra")
"""Folders of the package on which answers depend ..."""
FURTHER = {
    "pixels": (ROOT / "rivals/plain.py", ROOT / "rivals/pixels.py"),
    "literature": (PACKAGE / "views/report/misfit.py", PACKAGE / "views/report/report_data.py"),
    "rvspecfit": (ROOT / "rivals/rvspecfit.py",),
}
"""... and further files for single methods."""
WIDTH = 180

Answer = dict[str, Any]


@dataclass(frozen=True)
class Star:
    """A spectrum, and what the literature says of its star.

    `literature` has the value and standard deviation of each label; `rv` (km/s) is the velocity
    expected in the frame of the file. `limits` (Å in vacuum) are those of a section.
    """

    path: Path
    name: str
    medium: str | None
    literature: dict[str, tuple[float, float]]
    rv: float
    resolution: float
    limits: tuple[float, float] = (0.0, np.inf)

    @cached_property
    def spectrum(self) -> b3.Spectrum:
        """The spectrum, between the limits."""
        whole = b3.read_spectrum(self.path, medium=self.medium)
        inside = (whole.wavelength >= self.limits[0]) & (whole.wavelength < self.limits[1])
        return whole if inside.all() else cut(whole, inside)

    @property
    def fixed(self) -> dict[str, float]:
        """The resolution, where it is known but not in the file."""
        return {"resolution": self.resolution} if np.isfinite(self.resolution) else {}

    def inside(self, bounds: dict[str, tuple[float, float]]) -> bool:
        """Whether its labels are known and lie within bounds."""
        known = self.literature
        required = [name for name in bounds if name in known or name != "alpha"]
        return all(n in known and bounds[n][0] <= known[n][0] <= bounds[n][1] for n in required)


def read_stars(table: Path) -> list[Star]:
    """Return the stars of a table; files are relative to it."""
    stars = []
    for row in EcsvTable.read(table, format="ascii.ecsv"):
        labels = {n: (float(row[n]), float(row[f"{n}_err"])) for n in COMPARED}
        known = {name: pair for name, pair in labels.items() if np.isfinite(pair[0])}
        path, medium = (
            table.parent / row["file"],
            str(row["medium"] or "") or None,
        )  # empty is masked
        resolution, rv = float(row["resolution"]), float(row["rv"])
        stars.append(Star(path, str(row["star"]), medium, known, rv, resolution))
    return stars


def in_sections(star: Star, model: b3.Model, count: int) -> Iterator[Star]:
    """Windows of the range of a model in which a star has enough pixels."""
    pixels = star.spectrum.wavelength[star.spectrum.good]
    for low, high in pairwise(np.linspace(*model.wavelength[[0, -1]], count + 1)):
        if np.sum((pixels >= low) & (pixels < high)) > PIXELS:
            yield replace(star, limits=(low, high))


@dataclass(frozen=True)
class Subject:
    """A model to be judged, and the table of the stars that it may be calibrated on."""

    path: Path
    table: Path
    calibrated: dict[str, b3.Model] = field(default_factory=dict)

    @cached_property
    def model(self) -> b3.Model:
        """The model with the lines of its library: shipped ones are calibrated with these stars."""
        return b3.load_model(self.path, calibrated=False)

    @cached_property
    def library(self) -> Library:
        """The spectra at its nodes."""
        return node_library(self.model)

    @cached_property
    def templates(self) -> Templates:
        """Interpolated pixels of the same nodes."""
        return plain_templates(self.library)

    def without(self, star: str) -> b3.Model:
        """The model calibrated on all stars but one."""
        if star not in self.calibrated:
            known = read_known_stars(self.table, self.model.label_names)
            others = [one for one in known if one.star != star]
            self.calibrated[star] = calibrate(others, self.model).model
        return self.calibrated[star]


def by_default(star: Star, subject: Subject, before: Answer) -> Answer:
    """Labels with default settings."""
    return summary(b3.infer(star.spectrum, subject.model, fixed=star.fixed))


def by_pixels(star: Star, subject: Subject, before: Answer) -> Answer:
    """Labels by the plain fit, of the pixels that `infer` uses, from its velocity."""
    problem = make_problem(star.spectrum, subject.model, None, star.fixed)
    rv, degree = before["default"]["values"]["rv"][0], problem.options.degree
    found = plain_fit(problem.spectrum, subject.templates, rv, degree)
    return {"values": found.pop("labels"), **found}


def by_literature(star: Star, subject: Subject, before: Answer) -> Answer:
    """The fit with the labels of the literature, and the residuals of all lines."""
    model = subject.model
    if not star.inside(model.bounds):
        raise InputError("its labels in the literature are unknown, or outside the model")
    labels = {n: star.literature.get(n, (0.0, 0.0))[0] for n in model.label_names}
    found = b3.infer(star.spectrum, model, fixed=labels | star.fixed)
    data = make_report_data(found, model)
    heads = main_components(data.information.lines)
    lines: dict[int, dict[str, float]] = {}
    for one in sorted(line_residuals(data), key=lambda one: abs(one.sigmas)):
        values = {"depth": one.depth, "off": one.off, "sigmas": one.sigmas}
        lines[int(heads[one.index])] = values  # the most significant component remains
    return {**summary(found), "lines": lines}


def by_rvspecfit(star: Star, subject: Subject, before: Answer) -> Answer:
    """Labels by rvspecfit, of the pixels that `infer` uses, at its resolution."""
    problem = make_problem(star.spectrum, subject.model, None, star.fixed)
    first = before["default"]
    rv = first["values"]["rv"][0]
    resolution = problem.fixed.get("resolution") or first["values"]["resolution"][0]
    with tempfile.TemporaryDirectory() as work:
        found = rvspecfit_fit(
            problem.spectrum, subject.library, rv, resolution, first["rms"], Path(work)
        )
    return found


def by_calibration(star: Star, subject: Subject, before: Answer) -> Answer:
    """Labels with default settings, and lines calibrated on all stars of the table but this one."""
    return summary(b3.infer(star.spectrum, subject.without(star.name), fixed=star.fixed))


def by_macroturbulence(star: Star, subject: Subject, before: Answer) -> Answer:
    """Labels with default settings, but macroturbulence free."""
    free = {"vmac": (0.0, 10.0)}
    return summary(b3.infer(star.spectrum, subject.model, fixed=star.fixed, priors=free))


METHODS: dict[str, Callable[[Star, Subject, Answer], Answer]] = {
    "default": by_default,
    "pixels": by_pixels,
    "literature": by_literature,
    "rvspecfit": by_rvspecfit,
    "calibrated": by_calibration,
    "macroturbulence": by_macroturbulence,
}
DEFAULT = ["default", "pixels", "literature"]


def summary(found: b3.Inference) -> Answer:
    """The numbers of an inference."""
    estimates = {**found.labels, **found.nuisance}
    return {
        "values": {name: (float(e.value), float(e.sigma)) for name, e in estimates.items()},
        "chi2_stated": float(found.chi2_stated),
        "rms": float(found.rms),
        "flags": list(found.flags),
    }


# Answers


def main() -> None:
    args = parse_arguments()
    stars = read_stars(args.table)
    document: Answer = {}
    for path in args.model:
        subject = Subject(path, args.table)
        chosen = stars
        if args.sections > 1:
            chosen = [
                one for star in stars for one in in_sections(star, subject.model, args.sections)
            ]
        rows = [judged(star, subject, args.method, args.cache) for star in chosen]
        rows = [row for row in rows if row["answers"]]
        document[path.stem] = {
            "model": str(path),
            "rows": rows,
            "summaries": {method: summarised(rows, method) for method in args.method},
            "lines": disagreeing(rows, subject.model),
        }
        show(path.stem, document[path.stem], args.method)
    if args.json is not None:
        args.json.write_text(json.dumps(document, indent=1))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Labels of real stars.")
    parser.add_argument("--model", type=Path, action="append", required=True, help="repeatable")
    parser.add_argument("--method", nargs="+", choices=METHODS, default=DEFAULT)
    parser.add_argument("--sections", type=int, default=1, help="windows of each spectrum")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--cache", type=Path, help="folder of answers that are computed once")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def judged(star: Star, subject: Subject, methods: list[str], cache: Path | None) -> Answer:
    """The answers of all methods for a star; empty where the model does not overlap it."""
    answers: Answer = {}
    for method in ["default", *methods]:
        if method not in answers:
            answers[method] = cached(star, subject, method, cache, answers)
        if answers["default"] is None:
            break
    answers = {method: found for method, found in answers.items() if found is not None}
    return {
        "file": star.path.name,
        "star": star.name,
        "literature": star.literature,
        "rv": star.rv,
        "inside": star.inside(subject.model.bounds),
        "dwarf": star.inside(DWARFS),
        "answers": answers,
    }


def cached(
    star: Star, subject: Subject, method: str, cache: Path | None, before: Answer
) -> Answer | None:
    """The answer of a method, computed unless the cache has it; None where there is none."""
    if cache is None:
        return computed(star, subject, method, before)
    parts = [code_checksum(method), model_checksum(subject.model), method]
    parts += [hashlib.sha256(star.path.read_bytes()).hexdigest(), str(star.literature), star.medium]
    key = hashlib.sha256(json.dumps([*parts, star.fixed, star.limits]).encode()).hexdigest()[:24]
    path = cache / f"{key}.json"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(computed(star, subject, method, before)))
    found: Answer | None = json.loads(path.read_text())
    return found


def computed(star: Star, subject: Subject, method: str, before: Answer) -> Answer | None:
    """The answer of a method with its CPU seconds; None where the input is refused."""
    begun = time.process_time()
    try:
        found = METHODS[method](star, subject, before)
    except (InputError, NotAvailable) as error:
        print(f"{star.path.name}, {method}: {error}", file=sys.stderr)
        return None
    return {**found, "seconds": time.process_time() - begun}


@cache
def code_checksum(method: str) -> str:
    """A checksum of the code on which the answers of a method depend."""
    files = [file for name in SOURCES for file in sorted((PACKAGE / name).rglob("*.py"))]
    content = [file.read_bytes() for file in (*files, *FURTHER.get(method, ()))]
    return hashlib.sha256(b"".join(content)).hexdigest()


# Summaries


def summarised(rows: list[Answer], method: str) -> Answer:
    """Offsets, scatter and coverage of the labels of dwarfs and subgiants, and of the Sun."""
    found = [row for row in rows if row["inside"] and method in row["answers"]]
    dwarfs = [row for row in found if row["dwarf"]]
    suns = [row for row in dwarfs if row["star"] == "Sun"]
    labels = [n for n in COMPARED if any(n in row["answers"][method]["values"] for row in found)]
    return {
        "spectra": len(dwarfs),
        "stars": len({row["star"] for row in dwarfs}),
        "suns": len(suns),
        "labels": {
            name: {
                "offset": float(np.mean(off := differences(dwarfs, method, name))),
                "scatter": float(np.std(off)),
                "suns": float(np.ptp(differences(suns, method, name))) if suns else np.nan,
            }
            for name in labels
            if any(name in row["literature"] for row in dwarfs)
        },
        "coverage": coverage(found, method),
    }


def differences(rows: list[Answer], method: str, name: str) -> list[float]:
    """Differences to the literature."""
    return [
        row["answers"][method]["values"][name][0] - row["literature"][name][0]
        for row in rows
        if name in row["literature"]
    ]


def coverage(rows: list[Answer], method: str) -> Answer:
    """Shares of the labels within intervals of 68 and 95 %, errors of the literature included;
    labels on a bound have no interval."""
    pulls = [
        pull(row, method, name)
        for row in rows
        for name in COMPARED
        if name in row["literature"] and name in row["answers"][method]["values"]
    ]
    known = np.abs([one for one in pulls if np.isfinite(one)])
    shares = {"68": float(np.mean(known < 1.0)), "95": float(np.mean(known < 1.96))}
    return {"labels": len(pulls), "without": len(pulls) - known.size, **shares}


def pull(row: Answer, method: str, name: str) -> float:
    """The difference to the literature in standard deviations."""
    value, sigma = row["answers"][method]["values"][name]
    true, error = row["literature"][name]
    return float((value - true) / np.hypot(sigma, error))


# Lines


def disagreeing(rows: list[Answer], model: b3.Model) -> list[Answer]:
    """Lines whose residuals are significant, and of one sign, in most stars, at the labels of the
    literature; several spectra of a star count as one."""
    stars: dict[str, dict[str, list[Answer]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for line, values in row["answers"].get("literature", {}).get("lines", {}).items():
            stars[line][row["star"]].append(values)
    listed = [disagreement(int(line), of_line) for line, of_line in stars.items()]
    listed = [one for one in listed if one["stars"] >= FEWEST and one["share"] >= MOST]
    listed.sort(key=lambda one: -abs(one["off"]))
    named = species(model, [one["line"] for one in listed])
    return [{**one, **names} for one, names in zip(listed, named, strict=True)]


def disagreement(line: int, stars: dict[str, list[Answer]]) -> Answer:
    """How a line disagrees: in how many of its stars, and by how much in the median."""
    off = [float(np.median([one["off"] for one in found])) for found in stars.values()]
    sigmas = [float(np.median([one["sigmas"] for one in found])) for found in stars.values()]
    depth = float(np.median([one["depth"] for found in stars.values() for one in found]))
    sign = np.sign(np.median(off))
    share = float(np.mean([sign * one >= SIGNIFICANT for one in sigmas]))
    middle = float(np.median(off))
    return {"line": line, "stars": len(stars), "share": share, "off": middle, "depth": depth}


def species(model: b3.Model, lines: list[int]) -> list[Answer]:
    """Wavelength and likeliest species of lines."""
    reference = np.asarray(model.reference)[lines]
    middle = {name: (low + high) / 2 for name, (low, high) in model.bounds.items()}
    names = ["" for _ in lines]
    if lines and available():
        names = [one.summary for one in identify(model, middle, reference)]
    pairs = zip(reference.tolist(), names, strict=True)
    return [{"wavelength": at, "species": name} for at, name in pairs]


# Tables


def show(name: str, found: Answer, methods: list[str]) -> None:
    """Print the answers, the summaries and the lines of a model."""
    console = Console(width=WIDTH)
    console.print(answer_table(name, found["rows"], methods))
    console.print(summary_table(name, found["summaries"]))
    if found["lines"]:
        console.print(line_table(name, found["lines"]))


def answer_table(model: str, rows: list[Answer], methods: list[str]) -> Table:
    """Differences to the literature, with errors and pulls."""
    heads = [f"Δ {PARAMETERS[name]}" for name in COMPARED]
    columns = ("spectrum", "", *heads, "Δ rv", "χ²", "rms %", "s", "flags")
    table = Table(*columns, title=f"{model}: minus the literature, ± stated error (pull)")
    table.box = box.SIMPLE_HEAD
    for row in rows:
        first = row["file"] + ("" if row["inside"] else " *")
        for method in methods:
            if method in row["answers"]:
                table.add_row(first, method, *cells(row, method))
                first = ""
    return table


def cells(row: Answer, method: str) -> Iterator[str]:
    """The cells of an answer."""
    found = row["answers"][method]
    for name, digits in COMPARED.items():
        yield difference(row, method, name, digits)
    rv = found["values"].get("rv", (np.nan, np.nan))[0]
    yield f"{rv - row['rv']:+.2f}" if np.isfinite(row["rv"]) else f"({rv:.2f})"
    chi2 = found["chi2_stated"]
    yield "" if chi2 is None or not np.isfinite(chi2) else f"{chi2:.3g}"
    yield f"{100 * found['rms']:.2f}"
    yield f"{found['seconds']:.0f}"
    yield "; ".join(short(flag) for flag in found["flags"] if not remark(flag))


def difference(row: Answer, method: str, name: str, digits: int) -> str:
    """A label minus that of the literature; in brackets, the label where that is not known."""
    values = row["answers"][method]["values"]
    if name not in values or (method == "literature"):
        return ""
    value, sigma = values[name]
    error = f" ± {sigma:.{digits}f}" if np.isfinite(sigma) else " bound"
    if name not in row["literature"]:
        return f"({value:.{digits}f}{error})"
    off = value - row["literature"][name][0]
    in_errors = f" ({pull(row, method, name):+.1f})" if np.isfinite(sigma) else ""
    return f"{off:+.{digits}f}{error}{in_errors}"


def remark(flag: str) -> bool:
    """Whether a flag says what was done, or concerns the frame, and not the fit."""
    return any(word in flag for word in REMARKS)


def short(flag: str) -> str:
    """A flag up to its details."""
    return flag.split(":")[0].replace(" of other labels widened for", " widened,")


def summary_table(model: str, summaries: dict[str, Answer]) -> Table:
    """Offset and scatter of dwarfs and subgiants, agreement of the Suns, coverage."""
    title = f"{model}: dwarfs and subgiants of {DWARFS['teff'][0]:.0f}–{DWARFS['teff'][1]:.0f} K"
    columns = ("method", "spectra", *(PARAMETERS[n] for n in COMPARED), "Suns, max − min")
    table = Table(*columns, "within 68 %", "95 %", "no interval", title=title, box=box.SIMPLE_HEAD)
    for method, found in summaries.items():
        if method == "literature" or not found["spectra"]:
            continue
        labels, share = found["labels"], found["coverage"]
        offsets = [
            f"{labels[n]['offset']:+.{d}f} ± {labels[n]['scatter']:.{d}f}" if n in labels else ""
            for n, d in COMPARED.items()
        ]
        suns = " / ".join(f"{labels[n]['suns']:.{d}f}" for n, d in COMPARED.items() if n in labels)
        count = f"{found['spectra']} of {found['stars']} stars"
        shares = [f"{100 * share[key]:.0f} %" for key in ("68", "95")]
        without = f"{share['without']} of {share['labels']}"
        table.add_row(method, count, *offsets, f"{suns} ({found['suns']})", *shares, without)
    return table


def line_table(model: str, lines: list[Answer]) -> Table:
    """The lines that disagree in most stars."""
    columns = ("vacuum Å", "depth", "observed − model", "stars", "significant in", "species")
    table = Table(
        *columns, title=f"{model}: lines that disagree in most stars", box=box.SIMPLE_HEAD
    )
    for one in lines[:LISTED]:
        table.add_row(
            f"{one['wavelength']:.3f}",
            f"{one['depth']:.2f}",
            f"{100 * one['off']:+.1f} %",
            f"{one['stars']}",
            f"{100 * one['share']:.0f} %",
            one["species"],
        )
    return table


if __name__ == "__main__":
    main()
