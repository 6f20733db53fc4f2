"""The report: a run's folder in, one HTML page out that needs nothing but a browser; computes nothing."""

from purescope.report._write import write_report

__all__ = ["write_report"]
