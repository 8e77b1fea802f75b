"""Does a space give the numbers of its original code? Golden cases, run and compared.

    python -m omnibind.testing.golden CASE_DIR... --out DIR

A case is a folder: `case.json` (a tiny model in plain words, what to feed, what to compare),
`keys.json` (the layout of the published checkpoint: key -> shape, dtype, how to fill it),
`inputs.safetensors`, and `expected.safetensors` where the answers are known. The checkpoint is
filled by formula, written the way the published file is stored, read back as any user's file is,
and handed to the code of the space's plugin:

    [project.entry-points."omnibind.golden"]
    siglip-l = "omnibind_plugin_siglip.golden:run"

    def run(case, folder, state, inputs):
        '''Builds the case's tiny model, loads `state` through load_official, gives its outputs.

        Args:
            case: the content of case.json.
            folder: of the case; the files that checks name are relative to it.
            state: the tensors of the filled checkpoint, as `omnibind.weights.read_state` reads.
            inputs: the tensors of inputs.safetensors.

        Returns:
            tensors by the names under `outputs` of the case's checks; a check that is optional
            may be left out.
        '''

The entry point is named after the case (`siglip-l`), after its space (`imagebind-huge`), or after
what the names of several cases begin with (`joint`).
"""

from omnibind.testing.golden.case import Case, Run
from omnibind.testing.golden.compare import Verdict, compare
from omnibind.testing.golden.fill import fill

__all__ = ["Case", "Run", "Verdict", "compare", "fill"]
