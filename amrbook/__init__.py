"""What the chapters of the book use beside ``amrlib``: claims, settings, figures, intervals and the stored experiments.

Arrows run one way: ``amrbook`` imports ``amrlib``, never the other way round.
"""
