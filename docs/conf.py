"""Sphinx: the pages of this folder as a site (`make docs`).

Nothing is loaded from elsewhere, at build or by the reader. Notebooks are stored with their outputs
and are not executed here; `make tutorials` executes them.
"""

from blase3d import __version__

project = "blase3D"
author = "The blase3D developers"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["README.md", "**.ipynb_checkpoints"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4  # links to headings as on the repository's web pages
nb_execution_mode = "off"

autodoc_default_options = {"members": True, "member-order": "bysource", "undoc-members": False}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_class_signature = "separated"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
default_role = "py:obj"

html_theme = "furo"
html_title = f"blase3D {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
