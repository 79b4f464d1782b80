"""The operators of cosmic-ray, a mutation library for Python, without its session machinery."""

import pickle
from collections.abc import Iterator

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.provider import OperatorProvider

from labsupport.grading.audit.tree import solution_regions

# These two draw what they insert at random, so no two audits would see the same mutants; the
# audit's own "other name" exchanges names for their neighbours instead.
RANDOM = {"VariableReplacer", "VariableInserter"}
# Between numbers with a fraction and between float tensors these raise an error at once: hundreds
# of mutants that any judge would catch, which would only make the share look better.
BITWISE = ("RShift", "LShift", "BitOr", "BitAnd", "BitXor")


def library_mutants(source: str) -> Iterator[tuple[str, str]]:
    """(operator, code) for every place in the solution where one of the operators applies."""
    regions = solution_regions(source)
    tree = get_ast(source)
    nodes = list(ast_nodes(tree))  # in the order in which a MutationVisitor counts
    fresh = pickle.dumps(tree)  # a mutation changes its tree; to copy is faster than to parse
    provider = OperatorProvider()
    for name in provider:
        if name in RANDOM or name.endswith(BITWISE):
            continue
        operator = provider[name]()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, ((line, _), _) in enumerate(places):
            if any(first <= line <= last for first, last in regions):
                visitor = MutationVisitor(occurrence, operator)
                yield name, visitor.walk(pickle.loads(fresh)).get_code()
