"""How the documentation site is built: `make docs` runs Sphinx with this file and checks every link
of the result.
"""

import sys
from pathlib import Path

from purescope import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "purescope"
author = "the purescope authors"
copyright = author
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "extensions.mathml",
    "extensions.tables",
]
exclude_patterns = ["extensions", "figures", "**.ipynb_checkpoints"]
nitpicky = True

# Pages: Markdown, formulas as MathML, notebooks with the outputs that were committed with them.
myst_enable_extensions = [
    "dollarmath",
    "amsmath",
    "colon_fence",
    "deflist",
    "attrs_inline",
    "attrs_block",
]
myst_heading_anchors = 3
html_math_renderer = "mathml"
nb_execution_mode = "off"
nb_merge_streams = True
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

# The API, from the docstrings. A name in single backticks is a link where it is one of ours, and
# code elsewhere.
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
nitpick_ignore_regex = [
    ("py:obj", r".*"),
    (
        "py:(class|data|exc|meth|attr)",
        r"(?!purescope\.).*",
    ),  # other libraries' types, and jaxtyping's shapes
    (
        "py:class",
        r"purescope\..*\._.*|purescope\.(tables|specs|parallel|files|runs|reduce|studies|maths|plots|features|datasets|models)\..*",
    ),
]

html_theme = "furo"
html_title = f"purescope {version}"
html_static_path = ["_static"]
html_css_files = ["purescope.css"]
html_favicon = "_static/mark.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = True
html_theme_options = {
    "light_logo": "mark.svg",
    "dark_logo": "mark.svg",
    "light_css_variables": {
        "color-brand-primary": "#005a8c",
        "color-brand-content": "#00639b",
        "color-brand-visited": "#00639b",
    },
    "dark_css_variables": {
        "color-brand-primary": "#56b4e9",
        "color-brand-content": "#6bbcf0",
        "color-brand-visited": "#6bbcf0",
    },
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
