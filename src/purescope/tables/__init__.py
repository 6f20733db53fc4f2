"""The tables of a results folder: their columns and ranges, their files, and the folder as a
whole.
"""
