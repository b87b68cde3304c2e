"""What accelerators take of graphs that can be counted by hand."""

import onnx
import onnx.parser

from earkit.export.mobile_usability import ACCELERATORS, usability, usability_table


def chain(*operators: str) -> onnx.ModelProto:
    names = ["x", *(f"y{i}" for i in range(len(operators)))]
    lines = [f"{out} = {op} ({put})" for op, put, out in zip(operators, names[:-1], names[1:], strict=True)]
    text = f'<ir_version: 9, opset_import: ["" : 20]> g (float[1, 4] x) => (float[1, 4] {names[-1]})'
    return onnx.shape_inference.infer_shapes(onnx.parser.parse_model(f"{text} {{ {' '.join(lines)} }}"))


def test_one_stretch_of_known_operators_is_worth_a_try() -> None:
    for found in usability(chain("Tanh", "Sigmoid", "Relu")):
        assert (found.nodes, found.taken, found.partitions, found.lacking) == (3, 3, 1, ())
        assert found.advice == "yes"


def test_what_none_has_parts_the_graph() -> None:
    made = usability(chain("Tanh", "Asinh", "Relu"))
    assert [each.accelerator for each in made] == list(ACCELERATORS)
    for found in made:
        assert (found.nodes, found.taken, found.partitions, found.lacking) == (3, 2, 2, ("Asinh",))
        assert found.advice == "no"
    assert "| NNAPI | no | 2 of 3 | 2 | Asinh |" in usability_table(made)


def test_lists_differ() -> None:
    lacking = {each.accelerator: each.lacking for each in usability(chain("Gelu"))}
    assert lacking == {"NNAPI": ("Gelu",), "CoreML MLProgram": (), "CoreML NeuralNetwork": ("Gelu",)}
