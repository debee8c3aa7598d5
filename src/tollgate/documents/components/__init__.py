"""Parts of a page. Each takes finished text and draws it at the sheet's cursor, which it moves down."""
