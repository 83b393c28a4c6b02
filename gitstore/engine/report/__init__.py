"""What auditors take away: the log of changes as JSON Lines or CSV, and a report as an HTML page.

* `logs`    one line for each change
* `gather`  reads from the repository what goes into a page
* `page`    the page as a whole; `parts` its turns and diffs, `style` how it looks
"""

from __future__ import annotations

from gitstore.engine.report.gather import report
from gitstore.engine.report.logs import COLUMNS, log_csv, log_jsonl
from gitstore.engine.report.page import ReportedSession, html_report

__all__ = ["COLUMNS", "ReportedSession", "html_report", "log_csv", "log_jsonl", "report"]
