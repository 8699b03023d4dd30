"""MkDocs hooks: pages for files of the repository that the documentation links to.

In the repository, `[recipe](../src/blase3d/recipe.py)` opens the file. On the site, it opens a page
with the text of the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(\.\./([\w./-]+)\)")
LANGUAGES = {".py": "python", ".md": "markdown", ".cff": "yaml"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every file of the repository that a page links to."""
    pages = [file.content_string for file in files.documentation_pages()]
    for path in sorted({path for text in pages for path in LINK.findall(text)}):
        files.append(File.generated(config, page_of(path), content=listing(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links to these pages."""
    here = Path(page.file.src_uri).parent.as_posix()
    return LINK.sub(lambda link: f"]({relpath(page_of(link[1]), here)})", markdown)


def page_of(path: str) -> str:
    """The page of a file, among the sources of the site."""
    return f"source/{path}.md"


def listing(path: str) -> str:
    """The file as a page."""
    text = (ROOT / path).read_text("utf-8")
    language = LANGUAGES.get(Path(path).suffix, "text")
    return f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n````{language}\n{text}````\n"
