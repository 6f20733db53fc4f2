"""How the bundled default is made: drawings and captions out of registry packages, two small models
trained on them.

Run as ``make bundle``; the stages are listed in ``bundle/__main__.py``. Nothing here is imported by
purescope.
"""
