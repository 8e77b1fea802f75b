"""How well rows of one kind find rows of another: figures, what guessing gives, and how sure."""

from omnibind.evaluation.ablate import Ablation, ablate
from omnibind.evaluation.benchmark import Benchmark, read_benchmark
from omnibind.evaluation.bootstrap import Figure
from omnibind.evaluation.classification import Classification, class_rows, classification
from omnibind.evaluation.classified import Classified
from omnibind.evaluation.directions import labels_of, refuse_unmeasurable, said_of
from omnibind.evaluation.evaluate import Evaluation, evaluate
from omnibind.evaluation.explain import Explanation, Explanations, explain
from omnibind.evaluation.labelled import (
    LabelledItem,
    encoded,
    labelled_items,
    refuse_prompts,
    zero_shot,
)
from omnibind.evaluation.measure import Retrieval, retrieval
from omnibind.evaluation.members import LabelledRows, bound, compare, members
from omnibind.evaluation.overlap import SeenItems, content_ids, seen_items, seen_of
from omnibind.evaluation.pairs import AnyToAny, any_to_any
from omnibind.evaluation.ranking import relevance

__all__ = [
    "Ablation",
    "AnyToAny",
    "Benchmark",
    "Classification",
    "Classified",
    "Evaluation",
    "Explanation",
    "Explanations",
    "Figure",
    "LabelledItem",
    "LabelledRows",
    "Retrieval",
    "SeenItems",
    "ablate",
    "any_to_any",
    "bound",
    "class_rows",
    "classification",
    "compare",
    "content_ids",
    "encoded",
    "evaluate",
    "explain",
    "labelled_items",
    "labels_of",
    "members",
    "read_benchmark",
    "refuse_prompts",
    "refuse_unmeasurable",
    "relevance",
    "retrieval",
    "said_of",
    "seen_items",
    "seen_of",
    "zero_shot",
]
