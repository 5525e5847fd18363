"""The documentation as a site: `make docs` builds it, without warnings and without asking anything of the network."""

from __future__ import annotations

import sys
from pathlib import Path

from pygments.lexers.shell import BashLexer
from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]

from asterism import __version__  # noqa: E402

project = "asterism"
author = "The asterism authors"
copyright = "the asterism authors, MIT licence"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "plain_docstrings", "keys"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["extensions"]

myst_heading_anchors = 3  # `stargan.md#released-weights` works here as it does where the files are read as they are.

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # Else an attribute that a class docstring explains stands on the page twice.

html_theme = "furo"
html_title = f"asterism {version}"
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["site.css"]
pygments_style = "friendly"
highlight_language = "text"  # Of blocks that name none: shapes, trees of files.


def setup(app: Sphinx) -> None:
    """Commands stand here without a prompt: without this, the console's colours take them for its output."""
    app.add_lexer("console", BashLexer)
