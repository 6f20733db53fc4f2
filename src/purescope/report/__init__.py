"""Make a report: read a folder of results and write one HTML page that needs only a browser.

The report computes no statistics. Each section of the page is one function, which reads the tables
once and returns the text, figures and tables that it shows.
"""
