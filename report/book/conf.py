"""How Sphinx makes the book. `report/book.py` adds the pages and runs it."""

project = "A variational autoencoder on MNIST"
html_title = project
language = "en"

extensions = ["myst_nb"]
templates_path = ["_templates"]
exclude_patterns = ["README.md", "files", "extra"]
nitpicky = True

nb_execution_mode = "off"  # the notebooks are committed as executed
nb_merge_streams = True
nb_render_markdown_format = "myst"  # figures come as directives
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

# One file of MathJax, with its glyphs inside: browsers load no fonts for a page opened as a file.
mathjax_path = "tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}  # the menu would load more files

html_theme = "furo"
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_js_files = [("book.js", {"defer": "defer"})]
html_extra_path = ["extra"]
html_use_index = False  # it would list the glossary's terms again
html_copy_source = False
html_show_copyright = False
html_permalinks_icon = "#"
highlight_language = "text"  # what names no language is no Python: commands, a map
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
