"""Define the tables of a results folder: columns and ranges, files, and the folder as a whole."""
