"""The course as a static site: a page a lab, the long runs' results, search; for ``labs site``.

Rooms: ``build`` (all of it), ``lab_page`` (a lab's executed solution as a page), ``results_page``
(data/results as tables), ``formulas`` (MathML: a page needs no network) and ``site.css``. The
generator is Sphinx with MyST-NB and the theme Furo: pure Python, a search without a server, light
and dark. MyST's own generator needs Node.js, which a lab's machine has not.
"""
