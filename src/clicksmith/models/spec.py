"""`ModelSpec`, a model as a value, and `CTRModel`, the module built from it."""

from torch import nn

from clicksmith.batch.batch import Inputs
from clicksmith.embed.embedder import Embed
from clicksmith.embed.shape import Output
from clicksmith.embed.sockets import Block, Head, Task, Transform
from clicksmith.encode.layout import Layout
from clicksmith.head.binary import Binary
from clicksmith.parts import Part


class ModelSpec(Part, frozen=True):
    """Five sockets: embed (table and pools), transforms, interact, head. Parts nest; nothing is subclassed."""

    interact: Block
    embed: Embed = Embed()
    transforms: tuple[Transform, ...] = ()
    head: Head = Binary()
    tasks: tuple[Task, ...] = (Task("label"),)


class CTRModel(nn.Module):
    """The module of a spec for a layout: `forward(inputs) -> Output` (logits)."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        super().__init__()
        raise NotImplementedError

    def forward(self, inputs: Inputs) -> Output:
        """Return the logits [batch, outputs]."""
        raise NotImplementedError
