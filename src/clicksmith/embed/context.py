"""A context: chosen fields, by name or role, that say how a part treats a row."""

from clicksmith.embed.shape import FieldShape, View
from clicksmith.errors import CompositionError
from clicksmith.names import unknown


def context_width(view: View, shape: FieldShape) -> int:
    """Return the width of a context's vectors side by side; 0 for a view that names no field and no role.

    Raises:
        CompositionError: a name is unknown, or the view selects nothing.
    """
    if not (view.of.names or view.of.roles):
        return 0
    names = [f.name for f in (shape.base or shape.fields)]
    for name in view.of.names:
        if name not in names:
            raise CompositionError(f"context of '{view.name}': {unknown(name, names, 'field')}")
    selected = shape.selected(view)
    if not selected:
        raise CompositionError(
            f"the context of '{view.name}' selects no field (roles {', '.join(view.of.roles) or 'any'}); "
            "set the roles in the schema, name fields instead, or leave the context empty."
        )
    return len(selected) * view.dim
