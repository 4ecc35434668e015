"""Fixtures that more than one test module uses."""

from tests.browser import browser, open_explorable, open_page, page, page_log, site, site_url

__all__ = ["browser", "open_explorable", "open_page", "page", "page_log", "site", "site_url"]
