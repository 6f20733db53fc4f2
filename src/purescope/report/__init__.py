"""The report: a run's folder in, one HTML page out that needs nothing but a browser; computes
nothing.
"""
