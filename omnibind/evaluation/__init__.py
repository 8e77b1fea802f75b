"""How well rows of one kind find rows of another: figures, what guessing gives, and how sure."""

from omnibind.evaluation.bootstrap import Figure
from omnibind.evaluation.measure import Retrieval, retrieval
from omnibind.evaluation.pairs import AnyToAny, any_to_any
from omnibind.evaluation.ranking import relevance

__all__ = ["AnyToAny", "Figure", "Retrieval", "any_to_any", "relevance", "retrieval"]
