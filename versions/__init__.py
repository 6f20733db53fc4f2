"""Try what pyproject.toml allows: ``python -m versions`` each Python, ``python -m versions
--lowest`` the floors.
"""
