"""Depth: how pure and how spread out each layer of both towers is, in its weights and in its
activations.
"""
