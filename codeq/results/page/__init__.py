"""report.html: what a sweep found, as one page that works offline."""

from codeq.results.page.page import try_write_page, write_page

__all__ = ["try_write_page", "write_page"]
