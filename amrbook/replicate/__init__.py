"""The paper's tables beside ours: ``python -m amrbook replicate --dataset pinterest``; ``replicate page`` draws the pages."""

from . import paper
from .page import show

__all__ = ["paper", "show"]
