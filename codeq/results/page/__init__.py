"""report.html: what a sweep found, as one page that works offline."""

from codeq.results.page.page import write_page

__all__ = ["write_page"]
