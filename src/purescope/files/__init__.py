"""Files from anywhere and to anywhere: read with limits, written whole, locked, guarded and vouched
for.
"""
