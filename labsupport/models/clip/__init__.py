"""CLIP, scaled down: an image tower and a text tower that meet in one space.

A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (ICML
2021). One subject a file: `words` reads captions, `blocks` holds the transformer block of both
towers, `towers` the towers, `model` the two together, `losses` what they are trained with.
"""
