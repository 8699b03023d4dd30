"""The report of an inference: one HTML page that needs nothing outside it.

    view        what is shown, computed once: flux over continuum, lines and their information
    misfit      lines that the model gets wrong
    words       names, units, and flags in plain words
    svg         plain pictures; pictures draws them: windows, the whole, the corner plot
    viewer      the spectrum in few bytes, for viewer.js
    tables, provenance, page    the page, with page.css
    figure      the picture of the README, by matplotlib

Colours are those of Okabe & Ito (2008), which colour-blind readers can tell apart; nothing rests
on colour alone. Whatever comes from outside (names, commands, meta) is escaped, and the page
forbids the browser any other script, style or address.
"""

from .figure import overview_figure
from .page import write_report
from .provenance import model_checksum

__all__ = ["model_checksum", "overview_figure", "write_report"]
