"""Members' pages that show several rooms together."""

from litestar import Router

from tollgate.screens import contract, home, invoice, milestone

page_router = Router(
    path="/",
    route_handlers=[*home.handlers, *contract.handlers, *milestone.handlers, *invoice.handlers],
    include_in_schema=False,
)
