"""The report of an inference: one self-contained HTML page.

    report_data     the answer in units of the continuum, and the lines of its model
    misfit          lines that the model does not fit
    plots           plots of the spectrum, and the corner plot
    viewer_data     the spectrum in compact form for viewer.js
    tables, provenance, page    the page, with page.css

Colours are those of Okabe & Ito (2008), which colour-blind readers can distinguish; nothing rests
on colour alone. All text from outside (names, commands, meta) is escaped, and the page forbids the
browser any other script, style or address.
"""

from .page import write_report
from .provenance import model_checksum

__all__ = ["model_checksum", "write_report"]
