"""Collections of embeddings in the formats that people keep them in, read and written in blocks.

One file for each library: which vectors a file holds, and how it is written with shorter ones.
"""
