"""What purescope claims about speed, measured: ``python -m benchmarks`` prints ours beside the
plain way.
"""
